/** Requests about gaps. */
import { Schema } from "effect"
import { Gap, GapStatus, Provable } from "../domain/Gap.ts"
import { DeviceId } from "../domain/Ids.ts"
import { Cursor, page, PageLimit } from "./Paging.ts"

export const ListDeviceGapsFields = {
  status: Schema.optionalKey(GapStatus.annotate({ description: "Only gaps with this status" })),
  unproven: Schema.optionalKey(
    Provable.annotate({ description: "Only gaps that are accounted for and for which this kind is not proven" })
  ),
  limit: Schema.optionalKey(PageLimit),
  cursor: Schema.optionalKey(Cursor)
}
export const ListGapsFields = {
  device: Schema.optionalKey(DeviceId.annotate({ description: "Only gaps of this device" })),
  ...ListDeviceGapsFields
}
export const GapPage = page("GapPage", Gap)
export type GapPage = typeof GapPage.Type
