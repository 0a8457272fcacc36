/** What each strike does to a simulated world. How long it lasts is drawn then. */
import type { Strike } from "./Plan.ts"
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

/** Deafness is proven by a history: without one nobody can know of it. */
const somePhoneWithHistory = (world: Simulation) => {
  const found = somePhone(world)
  return found.gateway.shape.history ? found : null
}

export const seededStrikes: Readonly<Record<Strike, (world: Simulation) => void>> = {
  kill: (world) => world.kill(lasting(world, 10 * minute)),
  stop: (world) => world.stop(lasting(world, 10 * minute)),
  "database-crash": (world) => world.database.crash(lasting(world, 3 * minute)),
  "database-stall": ({ database, random, time }) => {
    database.stalledUntil = time.now + random.next() ** 3 * 2 * minute
  },
  "broker-cut": (world) => world.broker.cut(lasting(world, 10 * minute)),
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
    if (gateway.shape.history) gateway.ingressDownUntil = world.time.now + lasting(world, 5 * minute)
  },
  "webhook-forgotten": (world) => {
    const found = somePhoneWithHistory(world)
    found?.gateway.forgetWebhook(found.phone)
  },
  "upstream-offline": (world) => {
    const { gateway, phone } = somePhone(world)
    if (phone.connected) gateway.disconnect(phone, lasting(world, 5 * minute))
  },
  "logged-out": (world) => {
    const { gateway, phone } = somePhone(world)
    if (phone.loggedIn) gateway.logOut(phone, lasting(world, 30 * minute))
  },
  "clock-step": ({ process, random }) => {
    if (process !== null) process.machine.wallError += (random.next() * 2 - 1) ** 3 * 60 * minute
  }
}
