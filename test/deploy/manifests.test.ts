/** The manifests of `deploy/`: valid by the schemas of Kubernetes and Compose, and complete for the program. */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect } from "effect"
import * as Settings from "../../src/layers/Settings.ts"
import { shutdownMax } from "../../src/services/shutdownBudget.ts"
import { checkCompose, checkKubernetes, readCompose, readKubernetes } from "../support/manifests.ts"
import type { KubernetesObject } from "../support/manifests.ts"
import { environmentOf, manifestSecrets } from "../support/manifestEnvironment.ts"

const files = ["deploy/kubernetes/nodes.yaml", "deploy/kubernetes/api.yaml", "deploy/kubernetes/secret.yaml"]
const all = Promise.all(files.map(readKubernetes)).then((read) => read.flat())
const find = async (kind: string, name: string) =>
  (await all).find((object) => object.kind === kind && object.metadata.name === name)!

const parse = (env: Readonly<Record<string, string>>) =>
  Effect.provideService(Settings.parse, ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(env))

describe("deploy/kubernetes", () => {
  it("is valid for Kubernetes, to the last field", async () => {
    assert.deepStrictEqual(await checkKubernetes(await all), [])
  })

  it("would be refused with a wrong value, and with a field that does not exist", async () => {
    const object = await find("Deployment", "columba")
    const wrong = { ...object, spec: { ...object.spec, replicas: "three" } } as unknown as KubernetesObject
    const [first, ...compiled] = await checkKubernetes([wrong])
    assert.strictEqual(first, "Deployment columba: data/spec/replicas must be integer")
    assert.lengthOf(compiled, 1)
    const unknown = { ...object, spec: { ...object.spec, minReadySecond: 1 } }
    assert.match((await checkKubernetes([unknown])).join(), /minReadySecond\b/)
  })

  it.effect("has settings that the program accepts", () =>
    Effect.gen(function*() {
      for (const [name, address] of [["columba", "10.0.0.11"], ["columba-api", "10.0.0.12"]] as const) {
        const deployment = yield* Effect.promise(() => find("Deployment", name))
        const settings = yield* parse({
          ...environmentOf(deployment, { podIp: address, secret: manifestSecrets }),
          HOST: "0.0.0.0"
        })
        assert.strictEqual(settings.database._tag, "Postgres")
        assert.strictEqual(settings.cluster?.port, 7800)
        if (name === "columba") assert.strictEqual(settings.cluster?.host, address)
        assert.strictEqual(settings.roles.has("devices"), name === "columba")
      }
    }))

  it("gives a node more time than its stop takes, probes its endpoints, and names only keys that the secret has", async () => {
    const secret = await find("Secret", "columba")
    for (const name of ["columba", "columba-api"]) {
      const { spec } = (await find("Deployment", name)).spec.template
      const [container] = spec.containers
      const pause = container!.lifecycle.preStop.sleep.seconds
      assert.isAbove(spec.terminationGracePeriodSeconds, pause + Duration.toSeconds(shutdownMax))
      assert.strictEqual(container!.livenessProbe.httpGet.path, "/healthz")
      assert.strictEqual(container!.readinessProbe.httpGet.path, "/readyz")
      for (const { valueFrom } of container!.env) {
        if (valueFrom?.secretKeyRef === undefined) continue
        assert.strictEqual(valueFrom.secretKeyRef.name, secret.metadata.name)
        assert.property(secret.stringData, valueFrom.secretKeyRef.key)
      }
    }
  })
})

describe("deploy/compose.cluster.yml", () => {
  it("is valid for Compose, and would be refused with a field that does not exist", async () => {
    const file = await readCompose("deploy/compose.cluster.yml")
    assert.deepStrictEqual((await checkCompose(file)).filter((line) => !line.includes("\"x-")), [])
    const wrong = { ...file, services: { ...file.services, node1: { ...file.services["node1"], restrat: "no" } } }
    assert.match((await checkCompose(wrong)).join(), /node1 .*restrat/)
  })

  it.effect("starts three nodes, which differ only in their host and have time to stop", () =>
    Effect.gen(function*() {
      const { services } = yield* Effect.promise(() => readCompose("deploy/compose.cluster.yml"))
      const nodes = ["node1", "node2", "node3"].map((name) => [name, services[name]!] as const)
      const others = nodes.map(([name, { environment, stop_grace_period }]) => {
        const { COLUMBA_NODE_HOST, ...rest } = environment ?? {}
        assert.strictEqual(COLUMBA_NODE_HOST, name)
        assert.isAbove(Number.parseInt(stop_grace_period ?? ""), Duration.toSeconds(shutdownMax))
        return rest
      })
      assert.deepStrictEqual(others[1], others[0])
      assert.deepStrictEqual(others[2], others[0])
      const settings = yield* parse({
        ...others[0],
        ...manifestSecrets,
        WHATSAPP_API_DIALECT: "gowa",
        COLUMBA_NODE_HOST: "node1",
        COLUMBA_PUBLIC_URL: "",
        WHATSAPP_WEBHOOK_SECRET: "",
        WHATSAPP_API_KEY: "",
        HOST: "0.0.0.0"
      })
      assert.deepInclude(settings.cluster, { host: "node1", port: 7800 })
    }))
})
