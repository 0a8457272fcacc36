/**
 * The recipient of a message: converts what people write to the one address that gateways, events and lists use. Pure.
 */
import { Result } from "effect"
import { canonical } from "./Jid.ts"
import { RecipientInvalid } from "./SendErrors.ts"

/** Characters that people write between the digits of a phone number. */
const decoration = /[\s().-]/g

/** E.164 allows at most 15 digits; WhatsApp has no number with fewer than 7. */
const digitsMin = 7
const digitsMax = 15

/** The local part of an address other than a phone number's. */
const localPattern = /^[0-9]{1,32}(-[0-9]{1,32})?$/

/** Servers to which a message can be sent; broadcasts and the status list have rules of their own. */
const servers = new Set(["s.whatsapp.net", "c.us", "lid", "g.us", "newsletter"])

/** The canonical address of a phone number or address. */
export const parseRecipient = (to: string): Result.Result<string, RecipientInvalid> => {
  const at = to.lastIndexOf("@")
  if (at === -1) return Result.map(parseNumber(to.replace(decoration, "").replace(/^\+/, "")), phoneAddress)
  const server = to.slice(at + 1)
  if (!servers.has(server)) return Result.fail(RecipientInvalid.of("kind"))
  const address = canonical(to)
  const local = address.slice(0, address.lastIndexOf("@"))
  if (server === "s.whatsapp.net" || server === "c.us") return Result.map(parseNumber(local), phoneAddress)
  return localPattern.test(local) ? Result.succeed(address) : Result.fail(RecipientInvalid.of("form"))
}

const phoneAddress = (digits: string): string => `${digits}@s.whatsapp.net`

const parseNumber = (digits: string): Result.Result<string, RecipientInvalid> => {
  if (!/^\d+$/.test(digits)) return Result.fail(RecipientInvalid.of("form"))
  if (digits.startsWith("0")) return Result.fail(RecipientInvalid.of("leading-zero"))
  return digits.length < digitsMin || digits.length > digitsMax
    ? Result.fail(RecipientInvalid.of("length"))
    : Result.succeed(digits)
}
