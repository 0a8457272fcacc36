/**
 * A headless Chromium, in which tests use the dashboard as a person does. Every page records violations: of the content
 * security policy, an uncaught error, a foreign script.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"
import { chromium } from "playwright-core"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { findPrograms } from "../../../support/servers/ServerSource.ts"

/** Debian's name comes first; other systems use others. */
const otherNames = ["chromium-browser", "google-chrome"]

const findChromium = Effect.suspend(() => {
  const folders = (process.env["PATH"] ?? "").split(":")
  const other = folders.flatMap((folder) => otherNames.map((name) => join(folder, name))).find((file) =>
    existsSync(file)
  )
  if (other !== undefined) return Effect.succeed(other)
  const wanted = { server: "Chromium", programs: ["chromium"], directories: ["/usr/bin"], debianPackage: "chromium" }
  return Effect.map(findPrograms(wanted), (directory) => join(directory, "chromium"))
})

/** Finds a step that hangs; on a busy machine everything takes ten times as long. */
const patience = 120_000

export const launch: Effect.Effect<Browser, never, Scope.Scope> = Effect.acquireRelease(
  Effect.flatMap(Effect.orDie(findChromium), (executablePath) =>
    // Chromium refuses to run as root with its sandbox, and tests in containers do run as root.
    Effect.promise(() => chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] }))),
  (browser) => Effect.promise(() => browser.close())
)

export interface Visit {
  readonly page: Page
  readonly context: BrowserContext
  /** The violations, as text. */
  readonly problems: () => Promise<ReadonlyArray<string>>
}

export interface VisitOptions {
  readonly width?: number
  readonly height?: number
  readonly scheme?: "light" | "dark"
}

declare global {
  interface Window {
    /** Breaches of the policy, as the browser reports them. */
    policyBreaches: Array<string>
    /** Set by hostile text if it became script. */
    owned?: string
  }
}

/** A new page without shared storage. */
export const visit = (
  browser: Browser,
  url: string,
  options: VisitOptions = {}
): Effect.Effect<Visit, never, Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.acquireRelease(
      Effect.promise(() =>
        browser.newContext({
          viewport: { width: options.width ?? 1280, height: options.height ?? 800 },
          colorScheme: options.scheme ?? "light",
          reducedMotion: "reduce"
        })
      ),
      (context) => Effect.promise(() => context.close())
    )
    context.setDefaultTimeout(patience)
    const errors: Array<string> = []
    const page = yield* Effect.promise(async () => {
      await context.addInitScript(() => {
        window.policyBreaches = []
        document.addEventListener("securitypolicyviolation", (event) => {
          window.policyBreaches.push(`${event.violatedDirective} refused ${event.blockedURI} ${event.sample}`)
        })
      })
      const page = await context.newPage()
      page.on("pageerror", (error) => errors.push(`uncaught: ${error.message}`))
      page.on("dialog", (dialog) => {
        errors.push(`a dialog: ${dialog.message()}`)
        void dialog.dismiss()
      })
      await page.goto(url)
      return page
    })
    const problems = async () => {
      const { breaches, owned } = await page.evaluate(() => ({
        breaches: window.policyBreaches,
        owned: window.owned ?? null
      }))
      return [...errors, ...breaches, ...(owned === null ? [] : [`foreign script ran: ${owned}`])]
    }
    return { page, context, problems }
  })
