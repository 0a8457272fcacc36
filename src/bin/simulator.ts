/** `columba simulator`: the simulated gateway as a separate server. */
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { simulatedDialects } from "../simulator/Dialect.ts"
import { CommandFailed, exitCode } from "./failures.ts"

export const simulator = Command.make("simulator", {
  dialect: Flag.Literals("dialect", simulatedDialects).pipe(
    Flag.withDescription("the dialect of the simulated gateway"),
    Flag.withDefault("bridge" as const)
  ),
  host: Flag.String("host").pipe(Flag.withDescription("address to listen on"), Flag.withDefault("127.0.0.1")),
  port: Flag.Int("port").pipe(Flag.withDescription("port to listen on; 0 takes a free one"), Flag.withDefault(3000)),
  devices: Flag.Int("devices").pipe(
    Flag.withDescription("slots that exist from the start: sim-1, sim-2 …"),
    Flag.withDefault(0)
  ),
  seed: Flag.String("seed").pipe(
    Flag.withDescription("the same seed gives the same accounts and conversations"),
    Flag.withDefault("columba")
  ),
  rate: Flag.Finite("rate").pipe(
    Flag.withDescription("events per second over all devices, from the start"),
    Flag.optional
  ),
  speed: Flag.Finite("speed").pipe(
    Flag.withDescription(
      "instead of a rate: simulated people write at their own pace, this many times faster than real time"
    ),
    Flag.optional
  ),
  ledger: Flag.String("ledger").pipe(
    Flag.withDescription("file to which each event is written, one per line, before it is sent"),
    Flag.optional
  ),
  user: Flag.String("user").pipe(
    Flag.withDescription("HTTP Basic user; without it the gateway is open"),
    Flag.optional
  ),
  apiKey: Flag.String("api-key").pipe(
    Flag.withDescription("API key of the dialect waha; without it the gateway is open"),
    Flag.optional
  ),
  password: Flag.String("password").pipe(Flag.withDescription("HTTP Basic password"), Flag.withDefault("")),
  pair: Flag.Boolean("pair").pipe(
    Flag.withDescription("a slot has an account as soon as it exists; --no-pair shows QR codes instead"),
    Flag.withDefault(true)
  )
}, (flags) =>
  Effect.promise(() => import("../simulator/SimulatedGateway.ts")).pipe(
    Effect.flatMap(({ runSimulator }) =>
      runSimulator({
        dialect: flags.dialect,
        host: flags.host,
        port: flags.port,
        devices: flags.devices,
        seed: flags.seed,
        rate: Option.getOrUndefined(flags.rate),
        speed: Option.getOrUndefined(flags.speed),
        ledgerFile: Option.getOrUndefined(flags.ledger),
        auth: Option.getOrUndefined(Option.map(flags.user, (user) => ({ user, password: flags.password }))),
        waha: { apiKey: Option.getOrUndefined(flags.apiKey) },
        autoPair: flags.pair
      })
    ),
    Effect.mapError((error) => CommandFailed.of(error.message, "choose another port with --port", exitCode.unavailable))
  )).pipe(
    Command.withDescription(
      "Runs a simulated WhatsApp gateway: real HTTP and WebSockets, made-up accounts and conversations, and faults on " +
        "request (POST /__sim/faults)"
    ),
    Command.withShortDescription("Runs a simulated WhatsApp gateway"),
    Command.withExamples([
      {
        command: "columba simulator --devices 100 --rate 50",
        description: "A hundred accounts, fifty events per second"
      },
      {
        command: "columba serve --whatsapp-api-url http://127.0.0.1:3000",
        description: "Columba against it, in another terminal"
      }
    ])
  )
