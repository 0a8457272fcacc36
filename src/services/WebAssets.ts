/** The pages that the build has made: the dashboard, the documents page, and the files that they load. */
import { Context } from "effect"

export interface WebAsset {
  readonly contentType: string
  /** Named by its content, so that a browser may keep it for ever. */
  readonly immutable: boolean
  readonly etag: string
  readonly gzip: Uint8Array
  readonly brotli: Uint8Array
}

/** By path, such as `/` and `/assets/index-5f2a9c.js`. Empty where the program runs without having been built. */
export const WebAssets = Context.Reference<ReadonlyMap<string, WebAsset>>("columba/services/WebAssets", {
  defaultValue: () => new Map()
})
