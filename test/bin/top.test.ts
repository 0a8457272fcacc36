/** The view of `columba top` and its keys. */
import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import type { Terminal } from "effect"
import { countColumns, render } from "../../src/bin/styledText.ts"
import { topLines } from "../../src/bin/topLines.ts"
import { begin, listRows, step } from "../../src/bin/topModel.ts"
import type { TopCommand, TopInput, TopState } from "../../src/bin/topModel.ts"
import { FleetModel } from "../../src/client/FleetModel.ts"
import type { Overview } from "../../src/contracts/ServerPayloads.ts"
import type { Device } from "../../src/domain/Device.ts"
import { DeviceState } from "../../src/domain/DeviceState.ts"
import type { Explanation } from "../../src/domain/Explanation.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"

const now = Date.parse("2026-01-01T00:10:00.000Z")
const online: DeviceState = { _tag: "Online", jid: null, since: "2026-01-01T00:00:00.000Z" }
const quarantined: DeviceState = {
  _tag: "Quarantined",
  reason: { code: "flapping", class: "session", detail: "" },
  until: "2026-01-01T00:30:00.000Z"
} as never

const idOf = (index: number) => `dev_${String(index).padStart(26, "0")}` as DeviceId

const device = (index: number, name: string, state: DeviceState): Device => ({
  id: idOf(index),
  name,
  gateway: "default" as Device["gateway"],
  upstreamId: `slot-${index}` as Device["upstreamId"],
  phone: `+62812000${index}`,
  jid: null,
  state,
  active: true,
  pacing: null,
  createdAt: "2026-01-01T00:00:00.000Z",
  updatedAt: `2026-01-01T00:0${index % 10}:00.000Z`
} as never)

const wide = { columns: 80, rows: 24 }

const watched = (...devices: ReadonlyArray<Device>): TopInput => ({
  _tag: "Fleet",
  view: new FleetModel().apply([
    ...devices.map((device) => ({ _tag: "Device" as const, device })),
    { _tag: "Synced", through: "1" as never }
  ])
})

const three = watched(device(1, "Desk 10", online), device(2, "Desk 9", online), device(3, "Shop", quarantined))

const key = (name: string, input = name): TopInput => ({
  _tag: "Key",
  key: { input: Option.some(input), key: { name, ctrl: false, meta: false, shift: false } } satisfies Terminal.UserInput
})

const after = (state: TopState, ...inputs: ReadonlyArray<TopInput>) => {
  const commands: Array<TopCommand> = []
  for (const input of inputs) {
    const stepped = step(state, input)
    state = stepped.state
    if (stepped.command !== null) commands.push(stepped.command)
  }
  return { state, commands }
}

const text = (state: TopState) => topLines(state, now).map((line) => render(line, false))
const names = (state: TopState) => state.rows.map(({ name }) => name)

const overview = (seconds: number, head: number): TopInput => ({
  _tag: "Figures",
  lostAt: null,
  overview: {
    at: `2026-01-01T00:00:${String(seconds).padStart(2, "0")}.000Z`,
    head,
    states: null,
    openGaps: [{ cause: "process-down", count: 2 }],
    sinks: [{ sink: "rabbitmq", state: "running", confirmed: head - 5, lag: 5, expired: 0, failure: null }],
    incidents: []
  } as Overview
})

describe("the view", () => {
  it("has problems that need a person on top, and sorts names naturally", () => {
    const { state } = after(begin(wide, true), three)
    assert.deepStrictEqual(names(state), ["Shop", "Desk 9", "Desk 10"])
    assert.deepStrictEqual(names(after(state, key("o")).state), ["Desk 9", "Desk 10", "Shop"])
    assert.deepStrictEqual(names(after(state, key("o"), key("o")).state), ["Shop", "Desk 9", "Desk 10"])
  })

  it("shows how many devices are in which state, the rate of events, and what is behind", () => {
    const { state } = after(begin(wide, true), three, overview(10, 1000), overview(12, 1100))
    const shown = text(state).join("\n")
    assert.include(shown, "2 Online  1 Quarantined")
    assert.include(shown, "1,100  50.0/s  2 open gaps")
    assert.include(shown, "rabbitmq 5 behind")
  })

  it("has no rate over a log that was reset", () => {
    assert.isNull(after(begin(wide, true), overview(10, 1000), overview(12, 900)).state.rate)
  })

  it("shows since when the server does not answer, and the last known state", () => {
    const lost = (at: number): TopInput => ({ _tag: "Figures", overview: null, lostAt: at })
    const { state } = after(begin(wide, true), three, overview(10, 7), lost(now - 60_000), lost(now - 1_000))
    assert.include(text(state).join("\n"), "the server stopped answering 1 min ago")
    assert.include(text(state).join("\n"), "Shop")
    assert.isNull(after(state, overview(20, 8)).state.lostSince)
  })

  for (const columns of [40, 44, 80, 200]) {
    for (const rows of [4, 12, 24, 60]) {
      it(`fits into ${columns} columns and ${rows} rows in every mode`, () => {
        const many = watched(
          ...Array.from(
            { length: 100 },
            (_, index) =>
              device(index, `A name that is rather long, of ${index}`, index % 3 === 0 ? quarantined : online)
          )
        )
        const { state } = after(begin({ columns, rows }, true), many, key("end"))
        const found = {
          deviceId: state.selected!,
          state: "Online" as const,
          why: "words ".repeat(60),
          rule: null,
          next: "x".repeat(150),
          nextAt: null,
          howToFix: null,
          sending: null,
          evidence: []
        }
        const modes: ReadonlyArray<ReadonlyArray<TopInput>> = [
          [],
          [key("?")],
          [key("/")],
          [key("e"), { _tag: "Explained", id: state.selected!, found: found as never }]
        ]
        for (const inputs of modes) {
          const lines = topLines(after(state, ...inputs).state, now)
          assert.isAtMost(lines.length, Math.max(rows, 8))
          if (inputs.length === 0 && rows >= 12) {
            assert.isTrue(lines.some((line) => render(line, false).startsWith("› ")), "the selected device is shown")
          }
          // The list is cut by the screen; the text to read is not.
          const { mode } = after(state, ...inputs).state
          if (mode._tag === "Help" || mode._tag === "Explain") {
            assert.isAtMost(Math.max(...lines.slice(5, -1).map(countColumns)), columns)
          }
          // A wrapped line is indented to its text and not to its label.
          if (mode._tag === "Explain" && rows >= 24 && columns < 100) {
            const shown = lines.map((line) => render(line, false))
            const why = shown.findIndex((line) => line.startsWith("why    words"))
            assert.match(shown[why + 1] ?? "", /^ {7}words/)
          }
        }
      })
    }
  }
})

describe("a narrow terminal", () => {
  const { state } = after(begin({ columns: 44, rows: 20 }, true), three)

  it("shows every key at once", () => {
    const shown = text(after(state, key("?")).state).join("\n")
    for (const what of ["choose a device", "order by need", "show all again", "release", "leave"]) {
      assert.include(shown, what)
    }
  })

  it("shows nothing for a state rather than a cut word", () => {
    const named = after(state, watched(device(1, "n".repeat(27), online))).state
    assert.deepStrictEqual(text(named).filter((line) => line.includes("…")), [])
  })
})

describe("keys", () => {
  const { state: start } = after(begin(wide, true), three)

  it("choose a device, and stay with it when the list changes", () => {
    const { state } = after(start, key("down"))
    assert.strictEqual(state.selected, idOf(2))
    assert.strictEqual(after(state, key("o")).state.selected, idOf(2))
    assert.strictEqual(after(state, key("end"), key("down")).state.selected, idOf(1))
    assert.strictEqual(after(state, key("up"), key("up")).state.selected, idOf(3))
    assert.isAbove(listRows(state), 3)
  })

  it("search for the typed text; Escape shows all again", () => {
    const { state } = after(start, key("/"), key("9", "9"))
    assert.deepStrictEqual(names(state), ["Desk 9"])
    assert.strictEqual(state.selected, idOf(2))
    const { commands, state: typing } = after(state, key("q"))
    assert.deepStrictEqual([commands, typing.filter.search], [[], "9q"])
    assert.deepStrictEqual(names(after(typing, key("backspace"), key("return")).state), ["Desk 9"])
    assert.deepStrictEqual(names(after(typing, key("escape")).state).length, 3)
  })

  it("take no control characters into a search", () => {
    const { state } = after(start, key("/"), key("", "\u001b[2J\u0007x"))
    assert.strictEqual(state.filter.search, "[2Jx")
  })

  it("show one state after another, starting with those that need a person", () => {
    assert.deepStrictEqual(names(after(start, key("s")).state), ["Shop"])
    assert.deepStrictEqual(names(after(start, key("s"), key("s")).state), ["Desk 9", "Desk 10"])
    assert.deepStrictEqual(after(start, ...Array.from({ length: 4 }, () => key("s"))).state.filter.state, "all")
  })

  it("explain a device, show the answer for the requested device only, and go back", () => {
    const { commands, state } = after(start, key("e"))
    assert.deepStrictEqual(commands, [{ _tag: "Explain", id: idOf(3) }])
    const explained = (id: DeviceId): TopInput => ({ _tag: "Explained", id, found: { deviceId: id } as Explanation })
    assert.deepInclude(after(state, explained(idOf(1))).state.mode, { _tag: "Explain", found: null })
    assert.deepInclude(after(state, explained(idOf(3))).state.mode, { found: { deviceId: idOf(3) } } as never)
    assert.deepInclude(after(state, key("escape")).state.mode, { _tag: "List" })
    assert.deepInclude(after(state, key("escape"), explained(idOf(3))).state.mode, { _tag: "List" })
  })

  it("release a quarantined device after a confirmation", () => {
    assert.deepStrictEqual(after(start, key("r"), key("n")).commands, [])
    assert.deepStrictEqual(after(start, key("r"), key("y")).commands, [{ _tag: "Release", id: idOf(3) }])
    assert.deepStrictEqual(after(start, key("down"), key("r"), key("y")).commands, [])
  })

  it("release nothing with a key that may only read", () => {
    const { commands, state } = after(begin(wide, false), three, key("r"), key("y"))
    assert.deepStrictEqual(commands, [])
    assert.include(text(after(begin(wide, false), three, key("r")).state).at(-1), "may only read")
    assert.isNull(state.said)
  })

  it("leave with q, with Ctrl-C in every mode, and when the terminal is gone", () => {
    const interrupt: TopInput = {
      _tag: "Key",
      key: { input: Option.none(), key: { name: "c", ctrl: true, meta: false, shift: false } }
    }
    for (const input of [key("q"), interrupt, { _tag: "Ended" as const }]) {
      assert.deepStrictEqual(after(start, input).commands, [{ _tag: "Quit" }])
    }
    assert.deepStrictEqual(after(start, key("/"), interrupt).commands, [{ _tag: "Quit" }])
  })
})

describe("names from outside", () => {
  it("add no escape sequence to the view", () => {
    const { state } = after(begin(wide, true), watched(device(1, "\u001b[2Jgone", online)))
    assert.notMatch(topLines(state, now).map((line) => render(line, false)).join(""), /\p{Cc}/u)
  })
})
