/**
 * A handler of incoming messages that runs inside Columba: COLUMBA_HANDLERS=./examples/messageHandler.ts
 *
 * It stores each message exactly once in its own table, in Columba's database:
 *
 *   create table shop_messages (device text not null, chat text not null, wa_id text not null, body text)
 *
 * The type comes from the client's package, which a handler needs for nothing else.
 */
import type { HandlerModule } from "columba-client"

export default {
  name: "shop",
  handle: async ({ data, deviceId }) => {
    // Slow work and requests to other services belong here. They may be repeated.
    if (data.body === null) return
    const body = data.body.trim()

    // Committed together with the record that the message is handled: exactly once.
    return async (query) => {
      await query("insert into shop_messages (device, chat, wa_id, body) values ($1, $2, $3, $4)", [
        deviceId,
        data.chat,
        data.waId,
        body
      ])
    }
  }
} satisfies HandlerModule
