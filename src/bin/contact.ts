/**
 * Why a Columba could not be reached, for a person. A failed call has little detail (`fetch failed`), so the address
 * gets one more plain request, and the result distinguishes the cases: nothing listens there, the host name is
 * unknown, no trusted TLS connection, no answer in time, something that asks for credentials, or another server.
 */
import { Effect } from "effect"
import { CommandFailed, exitCode } from "./failures.ts"

/** A healthy answer takes milliseconds; a path that drops packets gives none. */
const probeMillis = 5000

/** The body of `/healthz` is some twenty bytes; nothing longer is read to recognise it. */
const healthBodyMax = 200

type Finding =
  | { readonly _tag: "Columba" }
  | { readonly _tag: "Answered"; readonly status: number; readonly server: string | null }
  | { readonly _tag: "Failed"; readonly code: string; readonly detail: string }
  | { readonly _tag: "Timeout" }

const readCode = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""

const readFailure = (error: unknown): Finding => {
  if (error instanceof Error && error.name === "TimeoutError") return { _tag: "Timeout" }
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  // A name with several addresses fails with one error for each.
  const first: unknown = cause instanceof AggregateError ? cause.errors[0] : cause
  const detail = first instanceof Error ? first.message : String(first)
  return { _tag: "Failed", code: readCode(first), detail }
}

const ask = (url: string, millis: number): Effect.Effect<Finding> =>
  Effect.promise((signal) =>
    fetch(`${url.replace(/\/+$/, "")}/healthz`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(millis)])
    }).then(
      async (response): Promise<Finding> => {
        const body = response.ok ? (await response.text()).slice(0, healthBodyMax) : ""
        return /^\s*\{\s*"status"\s*:/.test(body)
          ? { _tag: "Columba" }
          : { _tag: "Answered", status: response.status, server: response.headers.get("server") }
      }
    ).catch(readFailure)
  )

/** The reason and the advice for one finding. `call` is the message of the failed call itself. */
const describeContact = (url: string, found: Finding, call: string): readonly [reason: string, hint: string] => {
  const where = "or set its address with --url or COLUMBA_URL"
  switch (found._tag) {
    case "Columba":
      return [
        `the Columba at ${url} is running but did not answer this call: ${call}`,
        "try again; if it fails again, check its log and whether it has the same version as this command"
      ]
    case "Timeout":
      return [
        `${url} does not answer`,
        `check that the machine is reachable and that no firewall drops the connection, ${where}`
      ]
    case "Answered":
      return found.status === 401 || found.status === 403 || found.status === 407
        ? [
          `the server at ${url} asks for its own credentials (HTTP ${found.status}); it is not Columba, or a proxy ` +
          "in front of it",
          `give the address behind the proxy, ${where}`
        ]
        : [
          `the server at ${url} is not Columba: it answers /healthz with HTTP ${found.status}` +
          (found.server === null ? "" : ` (server: ${found.server.slice(0, 64)})`),
          `give the address of the role 'api', ${where}`
        ]
    case "Failed":
      return describeFailure(url, found, where)
  }
}

const describeFailure = (
  url: string,
  { code, detail }: Extract<Finding, { _tag: "Failed" }>,
  where: string
): readonly [reason: string, hint: string] => {
  switch (code) {
    case "ECONNREFUSED":
      return [`no Columba answers at ${url}: nothing listens there`, `start one with 'npm start', ${where}`]
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return [`no Columba answers at ${url}: the host name is unknown (${code})`, `check the name, ${where}`]
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "ETIMEDOUT":
    case "UND_ERR_CONNECT_TIMEOUT":
      return [`no Columba answers at ${url}: the machine is not reachable (${code})`, `check the network, ${where}`]
  }
  if (/CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code) || detail.includes("secure TLS")) {
    return [
      `no trusted TLS connection to ${url}: ${code === "" ? detail : `${code}, ${detail}`}`,
      "use http:// where the port has no TLS; NODE_EXTRA_CA_CERTS names the certificate of an authority of your own"
    ]
  }
  return [`no Columba answers at ${url}: ${code === "" ? detail : `${code}, ${detail}`}`, `check the address, ${where}`]
}

/** Finds out why `url` could not be reached. */
export const contactFailed = (
  url: string,
  call: string,
  timeoutMillis: number = probeMillis
): Effect.Effect<CommandFailed> =>
  Effect.map(ask(url, timeoutMillis), (found) => {
    const [reason, hint] = describeContact(url, found, call)
    return CommandFailed.of(reason, hint, exitCode.unavailable)
  })
