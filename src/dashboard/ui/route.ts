/** Which page is shown: the part of the address after `#`, so that the server has one page to serve. */
import { Atom } from "effect/reactivity"

export type Route =
  | { readonly page: "fleet" }
  | { readonly page: "gateways" }
  | { readonly page: "dead" }
  | { readonly page: "schedules" }
  | { readonly page: "subscriptions" }
  | { readonly page: "keys" }
  | { readonly page: "nodes" }
  | { readonly page: "subscription"; readonly id: string }
  | { readonly page: "device"; readonly id: string }
  | { readonly page: "login"; readonly id: string }

/** Pages of their own, without a parameter. */
const plain = ["gateways", "dead", "schedules", "keys", "nodes"] as const

export const parseRoute = (hash: string): Route => {
  const [first = "", second = "", third = ""] = hash.replace(/^#\/?/, "").split("/")
  if (first === "devices" && second !== "") return { page: third === "login" ? "login" : "device", id: second }
  if (first === "subscriptions") return second === "" ? { page: "subscriptions" } : { page: "subscription", id: second }
  return { page: plain.find((page) => page === first) ?? "fleet" }
}

export const hrefs = {
  fleet: "#/",
  gateways: "#/gateways",
  dead: "#/dead",
  schedules: "#/schedules",
  keys: "#/keys",
  nodes: "#/nodes",
  subscriptions: "#/subscriptions",
  subscription: (id: string): string => `#/subscriptions/${encodeURIComponent(id)}`,
  device: (id: string): string => `#/devices/${encodeURIComponent(id)}`,
  login: (id: string): string => `#/devices/${encodeURIComponent(id)}/login`
}

export const routeAtom: Atom.Atom<Route> = Atom.make((get) => {
  const changed = () => get.setSelf(parseRoute(location.hash))
  addEventListener("hashchange", changed)
  get.addFinalizer(() => removeEventListener("hashchange", changed))
  return parseRoute(location.hash)
}).pipe(Atom.keepAlive)

export const go = (href: string): void => {
  location.hash = href
}
