import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { parseRecipient } from "../../src/domain/Recipient.ts"

const read = (to: string): string =>
  Result.match(parseRecipient(to), { onSuccess: (address) => address, onFailure: ({ reason }) => `! ${reason}` })

describe("a recipient", () => {
  const table: ReadonlyArray<readonly [to: string, expected: string]> = [
    ["6281298765432", "6281298765432@s.whatsapp.net"],
    ["+62 812-9876.5432", "6281298765432@s.whatsapp.net"],
    ["(62) 81298765432", "6281298765432@s.whatsapp.net"],
    ["6281298765432@c.us", "6281298765432@s.whatsapp.net"],
    ["6281298765432:12@s.whatsapp.net", "6281298765432@s.whatsapp.net"],
    ["251556368777322@lid", "251556368777322@lid"],
    ["251556368777322:3@lid", "251556368777322@lid"],
    ["120363025246125486@g.us", "120363025246125486@g.us"],
    ["6281234567890-1600000000@g.us", "6281234567890-1600000000@g.us"],
    ["120363123456789012@newsletter", "120363123456789012@newsletter"],
    ["081298765432", "! leading-zero"],
    ["+0812987654", "! leading-zero"],
    ["0812987654@s.whatsapp.net", "! leading-zero"],
    ["628129", "! length"],
    ["6281298765432109", "! length"],
    ["628@s.whatsapp.net", "! length"],
    ["", "! form"],
    ["Ayu", "! form"],
    ["62812987654x2", "! form"],
    ["٦٢٨١٢٩٨٧٦٥٤٣٢", "! form"],
    ["abc@g.us", "! form"],
    ["@g.us", "! form"],
    ["status@broadcast", "! kind"],
    ["6281298765432@example.com", "! kind"],
    ["6281298765432@s.whatsapp.net@g.us", "! form"]
  ]
  for (const [to, expected] of table) it(`'${to}' is ${expected}`, () => assert.strictEqual(read(to), expected))
})
