/** Faults of the network, of names, and of the gateway behind them. */
import { rmSync, writeFileSync } from "node:fs"
import { Effect } from "effect"
import { wait } from "./shared.ts"
import type { Strike } from "./shared.ts"

export const disturb: Strike<"disturb network"> = (on, { direction, millis, to, toxic }) =>
  Effect.gen(function*() {
    const remove = on.proxies[to].add(direction, toxic)
    yield* wait(millis)
    remove()
  })

export const cut: Strike<"cut network"> = (on, { millis, to }) =>
  on.proxies[to].disable.pipe(Effect.andThen(wait(millis)), Effect.andThen(on.proxies[to].enable))

export const unresolve: Strike<"unresolve gateway"> = (on, { millis }) =>
  Effect.acquireUseRelease(
    Effect.sync(() => writeFileSync(on.namesFile, "")),
    () => Effect.andThen(on.simulator.addFault({ kind: "drop", reset: true }), wait(millis)),
    () => Effect.sync(() => rmSync(on.namesFile, { force: true }))
  )

export const faultGateway: Strike<"fault gateway"> = (on, { also, fault, millis }) =>
  on.simulator.addFault(fault).pipe(
    Effect.andThen(Effect.forEach(also ?? [], on.simulator.addFault, { discard: true })),
    Effect.andThen(wait(millis)),
    Effect.andThen(on.simulator.clearFaults)
  )

export const restartGateway: Strike<"restart gateway"> = (on, { millis }) => on.simulator.restart(millis)

export const flapGateway: Strike<"flap gateway"> = (on, { eachMillis, times }) =>
  Effect.gen(function*() {
    for (let time = 0; time < times; time++) {
      yield* on.simulator.addFault({ kind: "refuse", status: 503 })
      yield* on.simulator.addFault({ kind: "drop", reset: true })
      yield* wait(eachMillis)
      yield* on.simulator.clearFaults
      yield* wait(eachMillis)
    }
  })

/** The program retries refused credentials every five minutes; an operator who has changed them does not wait for that. */
export const refuseCredentials: Strike<"refuse credentials"> = (on, { code, millis, status }) =>
  Effect.gen(function*() {
    yield* on.simulator.addFault({ kind: "refuse", status, ...(code === undefined ? undefined : { code }) })
    yield* on.simulator.addFault({ kind: "drop", reset: true })
    yield* wait(millis)
    yield* on.simulator.clearFaults
    yield* Effect.forEach(on.devices.keys(), (id) => on.columba.post(`/api/v1/devices/${id}/reconnect`, {}), {
      discard: true
    })
  })

export const failEndpoint: Strike<"fail endpoint"> = ({ endpoint }, { chance, millis, status }) =>
  endpoint === null
    ? Effect.void
    : endpoint.fail(status, chance).pipe(Effect.andThen(wait(millis)), Effect.andThen(endpoint.heal))
