/** Adds a device, then links its phone. */
import { AsyncResult } from "effect/reactivity"
import { useState } from "react"
import { GatewayName, UpstreamId } from "../../domain/Ids.ts"
import { useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Choice, Field } from "../ui/parts.tsx"
import { go, hrefs } from "../ui/route.ts"
import { gatewaysAtom } from "./gatewayAtoms.ts"

export const AddDevice = ({ gateway = "" }: { readonly gateway?: string }) => {
  const listed = AsyncResult.value(useAtomValue(gatewaysAtom))
  const names = (listed._tag === "Some" ? listed.value.items : []).filter(({ active }) => active).map(({ name }) =>
    name
  )
  const [name, setName] = useState("")
  const [chosen, setChosen] = useState(gateway)
  const [slot, setSlot] = useState("")
  const add = useCommand(
    (client) =>
      client.devices.create({
        name: name.trim(),
        ...(chosen === "" ? {} : { gateway: GatewayName.make(chosen) }),
        ...(slot === "" ? {} : { upstreamId: UpstreamId.make(slot) })
      }),
    (device) => go(hrefs.login(device.id))
  )
  return (
    <Form submit="Add the device" onSubmit={add.run} pending={add.pending} failure={add.failure}>
      <Field label="Name of the device" value={name} onChange={setName} required placeholder="Front desk" />
      {names.length < 2 ? null : (
        <Choice
          label="Gateway"
          value={chosen}
          onChange={setChosen}
          options={[["", "The default one"], ...names.map((one) => [one, one] as const)]}
        />
      )}
      <details>
        <summary>It already has a slot at the gateway</summary>
        <Field
          label="Id of the slot"
          value={slot}
          onChange={setSlot}
          hint="A new slot is made where this is left empty."
        />
      </details>
    </Form>
  )
}
