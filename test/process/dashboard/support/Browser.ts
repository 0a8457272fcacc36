/**
 * A real Chromium without a window, in which tests use the dashboard as a person does. Every page notes what must not
 * happen: a breach of the content security policy, an error that nobody caught, a script of somebody else.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"
import { chromium } from "playwright-core"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { findPrograms } from "../../../support/servers/ServerSource.ts"

/** By other names elsewhere than on Debian. */
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

/** Finds what hangs; on a machine with other work everything takes ten times as long. */
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
  /** What must not have happened, in words. */
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
    /** Set by what would run if somebody's text became script. */
    owned?: string
  }
}

/** A page of its own, with nothing kept from another. */
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
