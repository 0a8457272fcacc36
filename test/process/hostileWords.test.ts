/**
 * Foreign texts in a terminal. A device, a gateway and a WhatsApp user have names and texts that a terminal would execute.
 * The built program shows them in a pseudo terminal, which must receive only the program's own colours.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { GatewayName, UpstreamId } from "../../src/domain/Ids.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { freshDirectory } from "../support/directory.ts"
import { messageDraft, startServer, stateDraft } from "../support/surface.ts"
import { hasTerminal, runInTerminal } from "./support/runInTerminal.ts"
import { runProgram } from "./support/runProgram.ts"

/** Clears the screen, sets the title, begins a sequence with a C1 character, begins a line, and reverses the rest. */
const hostile = "\u001b[2J\u001b]0;owned\u0007\u009b31mred\rowned\ncolumba: all is well\u202egnp"

/** The colours are the program's; a terminal must execute nothing else that is printed here. */
// oxlint-disable-next-line no-control-regex -- our own colours begin with one
const withoutColours = (text: string): string => text.replaceAll(/\u001b\[\d{1,2}m/g, "").replaceAll("\r\n", "\n")

// oxlint-disable-next-line no-control-regex -- these are what must not be left
const obeyed = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/u

/** A Columba whose device, gateway and correspondents have hostile texts. */
const makeServer = Effect.gen(function*() {
  const { services, url } = yield* startServer()
  const device = yield* Context.get(services, DeviceManager).register({
    name: "Shop \u202egnp.exe",
    gateway: GatewayName.make("default"),
    upstreamId: UpstreamId.make("shop")
  })
  const failure = { class: "transport", code: hostile, detail: hostile } as const
  const message = messageDraft(device.id, 1)
  yield* Context.get(services, EventLog).append([
    { ...message, data: { ...message.data, chat: hostile, type: hostile, sender: hostile } },
    {
      ...stateDraft(device.id, "Connecting", {
        _tag: "Quarantined",
        reason: failure,
        evidence: [hostile],
        until: "2026-01-01T00:00:00.000Z"
      }, hostile),
      data: {
        from: hostile,
        state: {
          _tag: "Quarantined",
          reason: failure,
          evidence: [hostile],
          until: "2026-01-01T00:00:00.000Z"
        },
        rule: hostile,
        failure,
        jid: hostile,
        phone: null,
        memory: { failures: [], releaseRequests: 0 }
      }
    },
    {
      ...stateDraft(device.id, "Quarantined", { _tag: "Inactive" }),
      kind: "frame.rejected",
      data: { reason: "unreadable", detail: hostile, raw: hostile, rawLength: 5 }
    }
  ])
  return { url, id: device.id }
})

describe.skipIf(!hasTerminal)("foreign texts in a terminal", () => {
  it.live("are shown with visible escapes by every command that prints them", () =>
    Effect.gen(function*() {
      const cwd = yield* freshDirectory
      const { id, url } = yield* makeServer
      const commands = [
        ["devices", "list"],
        ["devices", "explain", id],
        ["events", "tail", "--after", "0", "--limit", "3"],
        ["devices", "add", "--name", "x", "--gateway", "none"],
        ["devices", hostile],
        ["devices", "list", "--state", hostile],
        ["devices", "explain", hostile],
        ["devices", "list", "--url", `http://127.0.0.1:1/${hostile}`]
      ]
      for (const command of commands) {
        const { out } = yield* runInTerminal([...command, ...(command.includes("--url") ? [] : ["--url", url])], {
          cwd
        })
        assert.include(out, "\u001b[", `${command.join(" ")} in colours`)
        assert.notMatch(withoutColours(out), obeyed, command.join(" "))
      }
    }))

  it.live("stay JSON escapes in JSON, also those that JSON itself would not escape", () =>
    Effect.gen(function*() {
      const cwd = yield* freshDirectory
      const { id, url } = yield* makeServer
      const commands = [["devices", "list"], ["devices", "explain", id], [
        "events",
        "tail",
        "--after",
        "0",
        "--limit",
        "3"
      ]]
      for (const command of commands) {
        const { code, out } = yield* runProgram([...command, "--json", "--url", url], { cwd })
        assert.strictEqual(code, 0)
        assert.notMatch(out, obeyed, command.join(" "))
        for (const line of out.trim().split("\n")) JSON.parse(line)
      }
      const { out } = yield* runProgram(["events", "tail", "--after", "0", "--limit", "1", "--json", "--url", url], {
        cwd
      })
      assert.strictEqual((JSON.parse(out) as { data: { chat: string } }).data.chat, hostile)
    }))
})
