/** The environment that Kubernetes would give the container of a Deployment. */
import type { KubernetesObject } from "./manifests.ts"

/** An example of the secret that the manifests refer to. */
export const manifestSecrets: Readonly<Record<string, string>> = {
  DATABASE_URL: "postgres://columba:secret@postgres.example:5432/columba",
  RABBITMQ_URL: "amqps://columba:secret@rabbitmq.example:5671",
  COLUMBA_SECRET_KEY: Buffer.alloc(32, 7).toString("base64"),
  COLUMBA_API_KEYS: "operator:read+send+manage:0badc0ffee1deaf5eed50badc0ffee1deaf5eed5",
  WHATSAPP_API_URL: "https://gateway.example",
  WHATSAPP_API_DIALECT: "gowa",
  WHATSAPP_API_USER: "columba",
  WHATSAPP_API_PASSWORD: "secret"
}

export const environmentOf = (
  deployment: KubernetesObject,
  { podIp, secret }: { readonly podIp: string; readonly secret: Readonly<Record<string, string>> }
): Record<string, string> =>
  Object.fromEntries(deployment.spec.template.spec.containers[0]!.env.flatMap(({ name, value, valueFrom }) => {
    if (valueFrom?.fieldRef !== undefined) {
      if (valueFrom.fieldRef.fieldPath !== "status.podIP") {
        throw new Error(`unknown field ${valueFrom.fieldRef.fieldPath}`)
      }
      return [[name, podIp] as const]
    }
    if (valueFrom?.secretKeyRef !== undefined) {
      const { key, optional } = valueFrom.secretKeyRef
      const found = secret[key]
      if (found === undefined && optional !== true) throw new Error(`the secret has no ${key}`)
      return found === undefined ? [] : [[name, found] as const]
    }
    return [[name, value ?? ""] as const]
  }))
