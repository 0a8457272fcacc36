/** The package `columba-client` as another project gets it: built, packed, and installed there. */
import { execFileSync } from "node:child_process"
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { buildClient } from "../../../scripts/buildClient.ts"

const root = resolve(import.meta.dirname, "../../..")

export const npm = (args: ReadonlyArray<string>, cwd: string): string =>
  execFileSync("npm", [...args, "--loglevel=error"], { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

const install = (args: ReadonlyArray<string>, cwd: string) =>
  npm(["install", "--prefer-offline", "--no-audit", "--no-fund", ...args], cwd)

/** Puts the packed client into the directory and returns the file's name. */
export const packClient = async (directory: string): Promise<string> => {
  const folder = await buildClient(join(directory, "package"))
  npm(["pack", folder, "--ignore-scripts"], directory)
  const file = readdirSync(directory).find((name) => name.endsWith(".tgz"))
  if (file === undefined) throw new Error("npm pack made no package")
  return file
}

/** A project that has installed the client and its peer, and nothing else. */
export const makeProject = async (directory: string): Promise<void> => {
  const { version } = JSON.parse(readFileSync(join(root, "node_modules/effect/package.json"), "utf8")) as {
    readonly version: string
  }
  writeFileSync(join(directory, "package.json"), JSON.stringify({ name: "project", private: true, type: "module" }))
  install([`./${await packClient(directory)}`, `effect@${version}`], directory)
}

/** From this project, in place of packages that a separate project would have installed. */
export const borrow = (directory: string, names: ReadonlyArray<string>): void => {
  for (const name of names) {
    mkdirSync(join(directory, "node_modules", name, ".."), { recursive: true })
    symlinkSync(join(root, "node_modules", name), join(directory, "node_modules", name))
  }
}

/** The runtime of exactly this version, installed into a new folder. */
export const installNode = (directory: string, version: string): string => {
  const folder = join(directory, `node-${version}`)
  mkdirSync(folder)
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "runtime", private: true }))
  install([`node@${version}`], folder)
  return join(folder, "node_modules/node/bin/node")
}

/** A copy of an example, next to the packed client as in this project, with its dependencies. Returns its folder. */
export const installExample = (directory: string, name: string): string => {
  const folder = join(directory, "examples", name)
  cpSync(join(root, "examples", name), folder, {
    recursive: true,
    filter: (file) => !file.includes("node_modules") && !file.endsWith("package-lock.json")
  })
  install([], folder)
  return folder
}
