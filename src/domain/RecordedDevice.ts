/** A device as it is recorded: its row and its newest transitions, read in one snapshot. */
import type { Device } from "./Device.ts"
import type { DeviceStateData } from "./EventData.ts"
import type { Timestamp } from "./Ids.ts"

/** A committed transition, with its number and time. */
export interface RecordedTransition {
  readonly seq: number
  readonly at: Timestamp
  readonly data: DeviceStateData
}

export interface RecordedDevice {
  readonly device: Device
  /** Newest first. The newest one led to `device.state`, unless retention has removed it. */
  readonly transitions: ReadonlyArray<RecordedTransition>
}
