/** Opening and closing channels of amqplib without waiting for a broker that may never answer. */
import type { Channel, ChannelModel } from "amqplib"

/**
 * Uses a channel of its own, because a refusal closes the channel it comes on. The caller does not wait for the channel
 * to close: a blocked broker answers when it reads again, a dead one never.
 */
export const withChannel = async <A>(connection: ChannelModel, use: (channel: Channel) => Promise<A>): Promise<A> => {
  const channel = await connection.createChannel()
  // A refusal arrives as the failure of the request; the event without a listener would end the process.
  channel.on("error", () => {})
  try {
    return await use(channel)
  } finally {
    void closeQuietly(channel)
  }
}

export const closeQuietly = async (channel: { readonly close: () => Promise<void> }): Promise<void> => {
  try {
    await channel.close()
  } catch {
    // A refusal has closed it, or the connection has ended.
  }
}
