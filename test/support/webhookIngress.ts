/**
 * Accepts the gateway's posts and passes them to the ingest of the life that runs: one address over several lives. While
 * none runs, connections are refused; the connections of a life that is killed break without an answer.
 */
import { createServer } from "node:http"
import type { IncomingHttpHeaders, ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Clock, Context, Effect, Fiber, Layer, Redacted } from "effect"
import type { Scope } from "effect"
import { DeviceFleet } from "../../src/services/DeviceFleet.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import { monotonicMillis } from "../../src/services/monotonic.ts"
import { SlotLookup } from "../../src/services/SlotLookup.ts"
import { WebhookIngest } from "../../src/services/WebhookIngest.ts"
import { webhookOutcomes } from "../../src/services/webhookOutcomes.ts"
import { WebhookRefusals } from "../../src/services/WebhookRefusals.ts"
import { WebhookSecrets } from "../../src/services/WebhookSecrets.ts"
import type { WhatsAppGateway } from "../../src/services/WhatsAppGateway.ts"
import type { Life } from "./receptionBench.ts"

export const webhookSecrets = WebhookSecrets.layer([Redacted.make<Uint8Array>(new Uint8Array(32))])

export interface WebhookIngress {
  readonly url: string
  /** From now on this life receives the posts; null: none does. */
  readonly serve: (
    life: Life | null,
    gateway: WhatsAppGateway
  ) => Effect.Effect<void, never, DeviceRepository | WebhookRefusals | Scope.Scope>
}

export const start: Effect.Effect<WebhookIngress, never, Scope.Scope> = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const taking = new Set<Fiber.Fiber<void>>()
  let ingest: WebhookIngest["Service"] | null = null

  const take = (url: URL, headers: IncomingHttpHeaders, body: Uint8Array, response: ServerResponse) => {
    if (ingest === null) return void response.destroy()
    const webhook = {
      gateway: url.pathname.split("/").at(-1) ?? "",
      device: url.searchParams.get("device"),
      headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
      body,
      startedAt: monotonicMillis(clock)
    }
    const answer = Effect.map(ingest.take(webhook), (outcome) => {
      response.writeHead(webhookOutcomes[outcome].status).end()
    })
    const fiber = runFork(Effect.onInterrupt(answer, () => Effect.sync(() => response.destroy())))
    taking.add(fiber)
    fiber.addObserver(() => taking.delete(fiber))
  }

  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", () => {})
    request.on(
      "end",
      () => take(new URL(request.url ?? "", "http://localhost"), request.headers, Buffer.concat(chunks), response)
    )
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    serve: Effect.fnUntraced(function*(life, gateway) {
      ingest = null
      yield* Fiber.interruptAll(taking)
      if (life === null) return
      const context = yield* Layer.build(
        Layer.fresh(WebhookIngest.layer).pipe(
          Layer.provide(Layer.fresh(SlotLookup.layer)),
          Layer.provide(Layer.succeed(DeviceRepository, yield* DeviceRepository)),
          Layer.provide(Layer.succeed(WebhookRefusals, yield* WebhookRefusals)),
          Layer.provide(Layer.succeed(EventLog, life.log)),
          Layer.provide(Layer.succeed(DeviceFleet, life.fleet)),
          Layer.provide(GatewayDirectory.layerFixed([gateway])),
          Layer.provide(webhookSecrets)
        )
      )
      ingest = Context.get(context, WebhookIngest)
    })
  }
})
