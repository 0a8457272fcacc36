/**
 * Loaded into the program before anything else: resolves the name `gateway.test` to this machine, by the address in
 * `COLUMBA_FAULTS_GATEWAY` if it is set, and to no address while the file of `COLUMBA_FAULTS_NAMES` exists.
 */
import dns from "node:dns"
import { existsSync } from "node:fs"
import { syncBuiltinESMExports } from "node:module"

const file = process.env["COLUMBA_FAULTS_NAMES"] ?? ""
const gateway = process.env["COLUMBA_FAULTS_GATEWAY"] ?? "127.0.0.1"
const { lookup } = dns

dns.lookup = (name, options, callback) => {
  const [settings, done] = typeof options === "function" ? [{}, options] : [options, callback]
  if (name !== "gateway.test") return lookup(name, settings, done)
  if (existsSync(file)) {
    const error = Object.assign(new Error("getaddrinfo ENOTFOUND gateway.test"), { code: "ENOTFOUND", hostname: name })
    return process.nextTick(done, error)
  }
  lookup(gateway, settings, done)
}
syncBuiltinESMExports()
