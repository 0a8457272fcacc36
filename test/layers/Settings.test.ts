import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, FileSystem, Redacted } from "effect"
import { DeviceId } from "../../src/domain/Ids.ts"
import * as Settings from "../../src/layers/Settings.ts"

const parse = (env: Record<string, string>) =>
  Settings.parse.pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(env)))

const problems = (env: Record<string, string>) => Effect.map(Effect.flip(parse(env)), (error) => error.problems)

const secret = "0123456789abcdef0123"

describe("Settings", () => {
  it.effect("runs everything on loopback, embedded and simulated, when nothing is set", () =>
    Effect.gen(function*() {
      const settings = yield* parse({})
      assert.deepStrictEqual(settings.database, { _tag: "Embedded", dataDir: "./data" })
      assert.deepStrictEqual(settings.gateway, { _tag: "Simulator", demoDevices: 25 })
      assert.deepStrictEqual([settings.host, settings.port], ["127.0.0.1", 8080])
      assert.strictEqual(settings.rabbitUrl, null)
      assert.deepStrictEqual(Array.from(settings.roles), ["api", "devices", "consumer", "scheduler"])
      assert.deepStrictEqual(settings.retention, Duration.days(90))
      assert.deepStrictEqual(settings.notes, [])
    }))

  it.effect("runs without a gateway on a real database when none is set, so that no simulated data reaches it", () =>
    Effect.gen(function*() {
      const settings = yield* parse({ DATABASE_URL: "postgres://db/columba", COLUMBA_DEMO_DEVICES: "25" })
      assert.deepStrictEqual(settings.gateway, { _tag: "None" })
    }))

  it.effect("treats an empty value as unset, as docker compose passes it", () =>
    Effect.gen(function*() {
      const settings = yield* parse({ DATABASE_URL: "", PORT: "", COLUMBA_ROLES: " " })
      assert.strictEqual(settings.database._tag, "Embedded")
      assert.strictEqual(settings.port, 8080)
      assert.strictEqual(settings.roles.size, 4)
    }))

  it.effect("reports all problems at once, each with its variable, its value and what is expected", () =>
    Effect.gen(function*() {
      const found = yield* problems({ PORT: "eighty", COLUMBA_ROLES: "api,devises", DEBUG: "perhaps" })
      assert.deepStrictEqual(found, [
        "PORT is 'eighty'; expected a port from 0 to 65535 (0: any free one)",
        "COLUMBA_ROLES is 'api,devises'; expected a comma list out of api, devices, consumer, scheduler",
        "DEBUG is 'perhaps'; expected true or false"
      ])
    }))

  it.effect("accepts keys for all devices and for some", () =>
    Effect.gen(function*() {
      const [one, other] = [`dev_${"0".repeat(25)}1`, `dev_${"0".repeat(25)}2`]
      const { apiKeys } = yield* parse({
        COLUMBA_API_KEYS: `ops:read+manage:${secret}a, shop:read:${one}+${other}:${secret}b`
      })
      assert.deepStrictEqual(
        apiKeys.map(({ devices, key, name, scopes }) => [name, scopes, devices, Redacted.value(key)]),
        [
          ["ops", ["read", "manage"] as const, undefined, `${secret}a`],
          ["shop", ["read"] as const, [one, other].map((id) => DeviceId.make(id)), `${secret}b`]
        ] as const
      )
      // A list with a mistake must not become part of the key, nor a key for everything.
      for (const wrong of [`a:read:dev_1:${secret}`, `a:read::${secret}`, `a:read:${one}+:${secret}`]) {
        assert.lengthOf(yield* problems({ COLUMBA_API_KEYS: wrong }), 1, wrong)
      }
    }))

  it.effect("accepts origins for CORS as a comma list, and refuses values that are no origins", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* parse({})).corsOrigins, [])
      const set = "https://app.example, http://localhost:5173"
      assert.deepStrictEqual((yield* parse({ COLUMBA_CORS_ORIGINS: set })).corsOrigins, [
        "https://app.example",
        "http://localhost:5173"
      ])
      for (const wrong of ["*", "app.example", "https://app.example/path", "ftp://app.example"]) {
        assert.lengthOf(yield* problems({ COLUMBA_CORS_ORIGINS: wrong }), 1, wrong)
      }
    }))

  it.effect("never shows values that may be secret", () =>
    Effect.gen(function*() {
      const found = yield* problems({
        DATABASE_URL: "mysql://root:hunter2@db/columba",
        RABBITMQ_URL: "guest:hunter2@broker",
        COLUMBA_API_KEYS: "ops:everything:hunter2hunter2hunter2"
      })
      assert.lengthOf(found, 3)
      assert.notInclude(found.join("\n"), "hunter2")
      assert.include(found[0], "DATABASE_URL is a value of 31 characters; expected a URL like postgres://")
    }))

  it.effect("accepts the database URL of the former system unchanged", () =>
    Effect.gen(function*() {
      const { database } = yield* parse({ DATABASE_URL: "postgresql+asyncpg://user:p%40ss@db:5432/name?ssl=require" })
      assert.strictEqual(database._tag, "Postgres")
      if (database._tag === "Postgres") {
        assert.strictEqual(Redacted.value(database.url), "postgresql://user:p%40ss@db:5432/name?sslmode=require")
      }
    }))

  it.effect("refuses an address that other machines can reach unless keys are set", () =>
    Effect.gen(function*() {
      const [problem] = yield* problems({ HOST: "0.0.0.0" })
      assert.include(problem, "COLUMBA_API_KEYS")
      const settings = yield* parse({ HOST: "0.0.0.0", COLUMBA_API_KEYS: `ops:read+manage:${secret}` })
      assert.deepStrictEqual(settings.apiKeys.map(({ name, scopes }) => [name, scopes]), [["ops", ["read", "manage"]]])
      for (const host of ["localhost", "127.0.0.9", "::1"]) {
        assert.strictEqual((yield* parse({ HOST: host })).host, host)
      }
    }))

  it.effect("refuses secrets of examples on an address that other machines can reach, and shows none of them", () =>
    Effect.gen(function*() {
      const reachable = { HOST: "0.0.0.0", COLUMBA_API_KEYS: `ops:read:${secret}` }
      for (const tried of ["changeme12345678", "CHANGE-ME-------", "aaaaaaaaaaaaaaaa", "1234567890123456"]) {
        const [problem] = yield* problems({ ...reachable, COLUMBA_API_KEYS: `ops:read:${secret},shop:read:${tried}` })
        assert.match(problem!, /^The key 'shop' of COLUMBA_API_KEYS is a value that is tried first/)
        assert.notInclude(problem, tried)
        assert.lengthOf((yield* parse({ COLUMBA_API_KEYS: `shop:read:${tried}` })).apiKeys, 1, "on a loopback address")
      }
      const [problem] = yield* problems({ ...reachable, WHATSAPP_WEBHOOK_SECRET: "secret" })
      assert.match(problem!, /^WHATSAPP_WEBHOOK_SECRET is a value that is tried first/)
      yield* parse({ ...reachable, WHATSAPP_WEBHOOK_SECRET: "0badc0ffee" })
    }))

  it.effect("refuses keys that are short, repeated or of unknown scopes", () =>
    Effect.gen(function*() {
      const bad = [
        "ops:read:short",
        `ops:read:${secret},app:send:${secret}`,
        `ops:everything:${secret}`,
        `ops:${secret}`
      ]
      for (const given of bad) assert.lengthOf(yield* problems({ COLUMBA_API_KEYS: given }), 1, given)
    }))

  it.effect("reads whether files are kept, how long and how many bytes", () =>
    Effect.gen(function*() {
      assert.isNull((yield* parse({})).media)
      const kept = { COLUMBA_MEDIA: "keep", COLUMBA_DATA_DIR: "/data" }
      assert.deepStrictEqual((yield* parse(kept)).media, {
        directory: "/data/media",
        keep: Duration.days(30),
        quotaBytes: 10 * 1024 ** 3
      })
      const given = yield* parse({ ...kept, COLUMBA_MEDIA_RETENTION: "7 days", COLUMBA_MEDIA_QUOTA: "500 MB" })
      assert.deepInclude(given.media, { keep: Duration.days(7), quotaBytes: 500_000_000 })
      for (const bad of ["much", "0 MB", "-1 GB"]) {
        assert.lengthOf(yield* problems({ COLUMBA_MEDIA_QUOTA: bad }), 1, bad)
      }
      assert.lengthOf(yield* problems({ COLUMBA_MEDIA: "yes" }), 1)
    }))

  it.effect("reads the time of retention, or off for unlimited", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* parse({ COLUMBA_RETENTION: "12 hours" })).retention, Duration.hours(12))
      assert.strictEqual((yield* parse({ COLUMBA_RETENTION: "off" })).retention, null)
      assert.lengthOf(yield* problems({ COLUMBA_RETENTION: "soon" }), 1)
      assert.lengthOf(yield* problems({ COLUMBA_RETENTION: "0 days" }), 1)
    }))

  it.effect("reads how fast devices may send, and refuses senseless values", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* parse({})).pacing, {})
      assert.deepStrictEqual((yield* parse({ COLUMBA_PACING: "20/min, 500/day" })).pacing, {
        rate: "20/min",
        perDay: 500
      })
      const [problem] = yield* problems({ COLUMBA_PACING: "20 per minute" })
      assert.include(problem, "expected off, or like 20/min")
    }))

  it.effect("names settings that have no effect in this version", () =>
    Effect.gen(function*() {
      const settings = yield* parse({ COLUMBA_ROLES: "devices" })
      assert.lengthOf(settings.notes, 1)
    }))

  it.effect("refuses a separate API process that would use a simulator of its own", () =>
    Effect.gen(function*() {
      const [problem] = yield* problems({ COLUMBA_ROLES: "api" })
      assert.include(problem, "WHATSAPP_API_URL must name the gateway")
    }))

  it.effect("refuses unknown dialects", () =>
    Effect.gen(function*() {
      assert.lengthOf(yield* problems({ WHATSAPP_API_DIALECT: "morse" }), 1)
    }))

  it.effect("accepts a cluster on Postgres, with its defaults, and none on the embedded database", () =>
    Effect.gen(function*() {
      const key = Buffer.alloc(32, 7).toString("base64")
      const on = { COLUMBA_CLUSTER: "on", DATABASE_URL: "postgres://localhost/columba", COLUMBA_SECRET_KEY: key }
      const { cluster } = yield* parse(on)
      const { keys = [], ...node } = cluster ?? {}
      assert.deepStrictEqual(node, { host: "127.0.0.1", port: 7800, lease: Duration.seconds(20), weight: 1 })
      assert.lengthOf(keys, 1)
      assert.isNull((yield* parse({ ...on, COLUMBA_CLUSTER: "off" })).cluster)
      const [problem] = yield* problems({ ...on, DATABASE_URL: "" })
      assert.include(problem, "DATABASE_URL must name the Postgres")
      const [keyless] = yield* problems({ ...on, COLUMBA_SECRET_KEY: "" })
      assert.include(keyless, "COLUMBA_SECRET_KEY must be set, the same on all nodes")
      for (
        const wrong of [
          { COLUMBA_NODE_HOST: "http://one" },
          // The system assigns these ports to outgoing connections.
          { COLUMBA_NODE_PORT: "34431" },
          { COLUMBA_NODE_PORT: "0" },
          { COLUMBA_CLUSTER_LEASE: "5 seconds" },
          { COLUMBA_CLUSTER_LEASE: "off" }
        ]
      ) assert.lengthOf(yield* problems({ ...on, ...wrong }), 1, JSON.stringify(wrong))
    }))

  it.effect("accepts only an address to which gateways can post", () =>
    Effect.gen(function*() {
      const publicUrl = (given: string) =>
        Effect.map(parse({ COLUMBA_PUBLIC_URL: given }), (settings) => settings.publicUrl)
      assert.strictEqual(yield* publicUrl("https://columba.example/base//"), "https://columba.example/base")
      assert.strictEqual(yield* publicUrl("http://10.0.0.7:8080"), "http://10.0.0.7:8080")
      assert.isNull((yield* parse({})).publicUrl)
      for (const given of ["columba.example", "ftp://a", "https://u:p@a", "https://a?b", "https://a#b"]) {
        assert.lengthOf(yield* problems({ COLUMBA_PUBLIC_URL: given }), 1, given)
      }
    }))

  it.effect("passes the gateway its dialect, its key and the secret of its webhooks", () =>
    Effect.gen(function*() {
      const { gateway, notes } = yield* parse({
        WHATSAPP_API_URL: "http://waha:3000",
        WHATSAPP_API_DIALECT: "waha",
        WHATSAPP_API_KEY: "key",
        WHATSAPP_WEBHOOK_SECRET: "signs"
      })
      assert(gateway._tag === "Configured")
      assert.deepStrictEqual([gateway.dialect, gateway.apiKey, gateway.webhookSecret].map(String), [
        "waha",
        "<redacted>",
        "<redacted>"
      ])
      assert.deepStrictEqual(notes, [])
    }))

  it.effect("prefers flags over the environment, and the environment over .env", () =>
    Effect.gen(function*() {
      const files = FileSystem.layerNoop({
        readFileString: () => Effect.succeed("# local\nCOLUMBA_DEMO_DEVICES=7\nPORT=9999\nCOLUMBA_LOG=json\n")
      })
      const settings = yield* Settings.load({ PORT: "8181" }).pipe(Effect.provide(files))
      assert.deepStrictEqual(settings.gateway, { _tag: "Simulator", demoDevices: 7 })
      assert.strictEqual(settings.port, 8181)
      assert.strictEqual(settings.log, "json")
    }))

  it.effect("accepts several sealing keys, the first one first, and shows no invalid one", () =>
    Effect.gen(function*() {
      const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
      const { secretKeys } = yield* parse({
        COLUMBA_SECRET_KEY: `${one.toString("base64")},${two.toString("base64")}`
      })
      assert.deepStrictEqual(secretKeys.map((key) => Buffer.from(Redacted.value(key))), [one, two])
      assert.deepStrictEqual((yield* parse({})).secretKeys, [])
      const [problem] = yield* problems({ COLUMBA_SECRET_KEY: "much-too-short" })
      assert.include(problem, "COLUMBA_SECRET_KEY")
      assert.include(problem, "openssl rand -base64 32")
      assert.notInclude(problem, "much-too-short")
    }))
})
