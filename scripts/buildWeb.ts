/**
 * Builds the pages for browsers into `dist/web/`: the dashboard (`src/dashboard`, by Vite) and the documents page, whose
 * script is included in Effect. Only compressed forms are written, gzip and brotli, so that a server never compresses; a
 * manifest lists them. Files are named by their content, the two pages by their paths.
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import * as zlib from "node:zlib"
import { dist, root } from "./stamp.ts"

/** The code must run in browsers of the last two years. */
const target = "es2023"

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml"
}

interface Page {
  readonly path: string
  readonly content: Uint8Array
}

const hash = (content: string | Uint8Array): string => createHash("sha256").update(content).digest("hex").slice(0, 16)

/** The pages, and the files from which their scripts were made. */
const buildDashboard = async (): Promise<
  { readonly pages: ReadonlyArray<Page>; readonly sources: ReadonlyArray<string> }
> => {
  const { build } = await import("vite")
  const source = path.join(root, "src/dashboard")
  // React and Vite select their forms by it, and a test run has set it to another value.
  const environment = process.env["NODE_ENV"]
  process.env["NODE_ENV"] = "production"
  const built = await build({
    root: source,
    configFile: false,
    logLevel: "warn",
    base: "/",
    oxc: { jsx: { runtime: "automatic" } },
    build: {
      target,
      write: false,
      // A policy without inline scripts allows no polyfill, and browsers of this age need none.
      modulePreload: { polyfill: false },
      assetsInlineLimit: 0,
      chunkSizeWarningLimit: 1000,
      rolldownOptions: { input: path.join(source, "index.html") }
    }
  }).finally(() => {
    if (environment === undefined) delete process.env["NODE_ENV"]
    else process.env["NODE_ENV"] = environment
  })
  if (!("output" in built)) throw new Error("Vite built several outputs or watches, and was asked for one")
  return {
    sources: built.output.flatMap((file) => file.type === "chunk" ? file.moduleIds : []),
    pages: built.output.map((file) => ({
      path: file.fileName === "index.html" ? "/" : `/${file.fileName}`,
      content: Buffer.from(file.type === "chunk" ? file.code : file.source)
    }))
  }
}

/** Effect has the script as a string, in a module that it does not export. */
const readScalar = async (): Promise<string> => {
  const effect = path.dirname(createRequire(import.meta.url).resolve("effect/package.json"))
  const file = path.join(effect, "dist/http-api/internal/httpApiScalar.js")
  return (await import(pathToFileURL(file).href) as { javascript: string }).javascript
}

const startDocs =
  `Scalar.createApiReference("#api", {url: "/openapi.json", withDefaultFonts: false, telemetry: false})\n`

const buildDocs = async (): Promise<ReadonlyArray<Page>> => {
  const scripts = [["scalar", await readScalar()], ["docs", startDocs]] as const
  const files = scripts.map(([name, text]) => ({
    path: `/assets/${name}-${hash(text)}.js`,
    content: Buffer.from(text)
  }))
  const html = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Columba API</title>
  </head>
  <body>
    <div id="api"></div>
${files.map((file) => `    <script src="${file.path}"></script>`).join("\n")}
  </body>
</html>
`
  return [{ path: "/docs", content: Buffer.from(html) }, ...files]
}

const brotli = promisify(zlib.brotliCompress)
const gzip = promisify(zlib.gzip)

/** The best level takes ten seconds for the script of the documents page; this one is a few percent larger. */
const brotliQuality = 9

/** Writes `web/` anew, and returns the files of packages that it includes. */
export const buildWeb = async (): Promise<ReadonlyArray<string>> => {
  const folder = path.join(dist, "web")
  const dashboard = await buildDashboard()
  const pages = [...dashboard.pages, ...await buildDocs()]
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder, { recursive: true })
  const manifest = await Promise.all(pages.map(async ({ content, path: address }) => {
    const extension = path.extname(address) || ".html"
    const contentType = contentTypes[extension]
    if (contentType === undefined) throw new Error(`no content type is known for ${address}`)
    const immutable = address.startsWith("/assets/")
    const file = immutable ? path.basename(address) : `${address === "/" ? "index" : address.slice(1)}.html`
    const [compressed, zipped] = await Promise.all([
      brotli(content, {
        params: { [zlib.constants.BROTLI_PARAM_QUALITY]: brotliQuality, [zlib.constants.BROTLI_PARAM_LGWIN]: 22 }
      }),
      gzip(content, { level: 9 })
    ])
    fs.writeFileSync(path.join(folder, `${file}.br`), compressed)
    fs.writeFileSync(path.join(folder, `${file}.gz`), zipped)
    return { path: address, file, contentType, immutable, etag: `"${hash(content)}"` }
  }))
  // Written last: a folder without it is not a build.
  fs.writeFileSync(path.join(folder, "manifest.json"), JSON.stringify(manifest, null, 1))
  return dashboard.sources
}
