/**
 * WhatsApp addresses as gateways write them: users by phone, hidden users (LID), groups, channels, broadcasts. Accepts
 * any text: an address that cannot be parsed is kept unchanged.
 */

const phonePattern = /^[1-9][0-9]{5,14}$/

const split = (jid: string): { readonly user: string; readonly server: string } => {
  const at = jid.lastIndexOf("@")
  return at === -1 ? { user: jid, server: "" } : { user: jid.slice(0, at), server: jid.slice(at + 1) }
}

/**
 * The address without its companion part, in one spelling: `628…:12@s.whatsapp.net` and `628…@c.us` are both
 * `628…@s.whatsapp.net`. Groups, channels and all other text are returned unchanged.
 */
export const canonical = (jid: string): string => {
  if (isCanonicalPhone(jid)) return jid
  const { server, user } = split(jid)
  if (server === "s.whatsapp.net" || server === "c.us") {
    return `${bareUser(user)}@s.whatsapp.net`
  }
  return server === "lid" ? `${bareUser(user)}@lid` : jid
}

const phoneServer = "@s.whatsapp.net"

/**
 * Whether the address is canonical already, as most are, so that it need not be rebuilt. Its first dot must be the
 * server's.
 */
const isCanonicalPhone = (jid: string): boolean =>
  jid.endsWith(phoneServer) && jid.indexOf(":") === -1 && jid.indexOf(".") === jid.length - phoneServer.length + 2

/** Whether it is a hidden user id. Its digits are not a phone number. */
export const isLid = (jid: string): boolean => jid.endsWith("@lid")

/** The phone number in E.164 (`+628…`), or null if the address has none. */
export const parsePhone = (jid: string): string | null => {
  const { server, user } = split(jid)
  if (server !== "s.whatsapp.net" && server !== "c.us") return null
  const bare = bareUser(user)
  return phonePattern.test(bare) ? `+${bare}` : null
}

const bareUser = (user: string): string => {
  const colon = user.indexOf(":")
  const withoutCompanion = colon === -1 ? user : user.slice(0, colon)
  const dot = withoutCompanion.indexOf(".")
  return dot === -1 ? withoutCompanion : withoutCompanion.slice(0, dot)
}
