/** What each strike does to a simulated world. How long it lasts is drawn then. */
import type { Strike } from "./Plan.ts"
import type { SimulatedEndpoint } from "./SimulatedEndpoint.ts"
import type { Simulation } from "./Simulation.ts"
import type { SimulatedGateway } from "./SimulatedGateway.ts"
import type { SimulatedPhone } from "./SimulatedPhone.ts"

const second = 1000
const minute = 60 * second

/** Mostly short, sometimes up to `most`. */
const lasting = ({ random }: Simulation, most: number): number => random.next() ** 3 * most

const someGateway = ({ gateways, random }: Simulation): SimulatedGateway => random.pick(gateways)

const somePhone = (world: Simulation): { readonly gateway: SimulatedGateway; readonly phone: SimulatedPhone } => {
  const gateway = someGateway(world)
  return { gateway, phone: world.random.pick(gateway.phones) }
}

const someEndpoint = ({ endpoints, random }: Simulation): SimulatedEndpoint => random.pick(endpoints)

/** Deafness is proven by a history: without one nobody can know of it. */
const somePhoneWithHistory = (world: Simulation) => {
  const found = somePhone(world)
  return found.gateway.shape.history ? found : null
}

export const seededStrikes: Readonly<Record<Strike, (world: Simulation) => void>> = {
  kill: (world) => world.nodes.kill(lasting(world, 10 * minute)),
  stop: (world) => world.nodes.stop(lasting(world, 10 * minute)),
  "database-crash": (world) => world.database.crash(lasting(world, 3 * minute)),
  "database-stall": ({ database, random, time }) => {
    database.stalledUntil = time.now + random.next() ** 3 * 2 * minute
  },
  // Now and then for longer than events are kept where that is short.
  "broker-cut": (world) => world.broker.cut(lasting(world, world.random.chance(0.1) ? 180 * minute : 10 * minute)),
  "broker-block": (world) => {
    world.broker.blockedUntil = world.time.now + lasting(world, 5 * minute)
  },
  "broker-stall": (world) => {
    world.broker.stalledUntil = world.time.now + lasting(world, 2 * minute)
  },
  "queue-deleted": ({ broker }) => broker.deleteQueue(),
  "gateway-crash": (world) => someGateway(world).crash(lasting(world, 20 * minute)),
  "gateway-stall": (world) => someGateway(world).stall(lasting(world, 3 * minute)),
  "session-drop": (world) => {
    const { gateway, phone } = somePhone(world)
    for (const session of gateway.sessions(phone)) {
      session.lose({ class: "transport", code: "socket-closed", detail: "dropped" })
    }
  },
  "session-freeze": (world) => {
    const { gateway, phone } = somePhone(world)
    for (const session of gateway.sessions(phone)) session.freeze(20 * second + world.random.next() * 9 * second)
  },
  "session-deaf": (world) => {
    const found = somePhoneWithHistory(world)
    if (found !== null) { for (const session of found.gateway.sessions(found.phone)) session.deaf = true }
  },
  mute: (world) => {
    const found = somePhoneWithHistory(world)
    found?.gateway.mutedUntil.set(found.phone, world.time.now + lasting(world, 60 * minute))
  },
  "link-lost": (world) => someGateway(world).loseLink(),
  "ingress-cut": (world) => {
    const gateway = someGateway(world)
    if (gateway.shape.history) gateway.webhooks.cutUntil = world.time.now + lasting(world, 5 * minute)
  },
  "webhook-forgotten": (world) => {
    const found = somePhoneWithHistory(world)
    found?.gateway.webhooks.forget(found.phone.upstreamId)
  },
  "upstream-offline": (world) => {
    const { gateway, phone } = somePhone(world)
    if (phone.connected) gateway.disconnect(phone, lasting(world, 5 * minute))
  },
  "logged-out": (world) => {
    const { gateway, phone } = somePhone(world)
    if (phone.loggedIn) gateway.logOut(phone, lasting(world, 30 * minute))
  },
  "clock-step": ({ nodes, plan, random }) => {
    const process = nodes.some()
    if (process !== null) process.machine.wallError += (random.next() * 2 - 1) ** 3 * plan.clockStepMax
  },
  "database-fallback": (world) => {
    const { database, random, time } = world
    const snapshot = database.snapshot()
    // A replica that lags by little, or a copy that somebody restores.
    const older = random.chance(0.5) ? random.next() * 10 * second : lasting(world, 90 * minute)
    time.after(older, () => {
      if (world.striking) world.fallBack(snapshot, lasting(world, 2 * minute))
    })
  },
  freeze: (world) => world.nodes.freeze(lasting(world, 4 * minute)),
  "shard-moved": ({ nodes }) => nodes.shards?.move(),
  "upstream-away": (world) => {
    const { gateway, phone } = somePhone(world)
    if (phone.connected) gateway.disconnect(phone, lasting(world, 300 * minute))
  },
  "endpoint-down": (world) => {
    someEndpoint(world).downUntil = world.time.now + lasting(world, 60 * minute)
  },
  "endpoint-hangs": (world) => {
    someEndpoint(world).hangsUntil = world.time.now + lasting(world, 10 * minute)
  },
  "endpoint-throttles": (world) => {
    someEndpoint(world).throttlesUntil = world.time.now + lasting(world, 10 * minute)
  },
  "endpoint-refuses": (world) => {
    const { phone } = somePhone(world)
    someEndpoint(world).refuses = { device: phone.deviceId, until: world.time.now + lasting(world, 90 * minute) }
  },
  "endpoint-gone": (world) => {
    const endpoint = someEndpoint(world)
    const millis = lasting(world, 20 * minute)
    endpoint.goneUntil = world.time.now + millis
    world.time.after(
      millis + world.random.next() * 30 * minute,
      () => world.operate(({ enable }) => enable(endpoint.id))
    )
  },
  "subscription-paused": (world) => {
    const { id } = someEndpoint(world)
    world.operate(({ update }) => update(id, { paused: true }))
    world.time.after(lasting(world, 60 * minute), () => world.operate(({ update }) => update(id, { paused: false })))
  },
  "subscription-replayed": (world) => {
    const { database, random } = world
    const endpoint = someEndpoint(world)
    const found = world.subscriptions().find(({ subscription: { id } }) => id === endpoint.id)
    if (found === undefined) return
    // A replay from beyond a held event skips it, so an operator who wants every event does not do that.
    const most = Math.min(found.confirmed, ...found.subscription.health.held.map(({ seq }) => seq - 1))
    const least = Math.max(world.begunAfter(endpoint), database.tables.oldest - 1)
    if (least < most) world.operate(({ moveTo }) => moveTo(endpoint.id, random.between(least, most)))
  }
}
