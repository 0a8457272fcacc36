/** The built pages: the dashboard, the documents page, and the files that they load. */
import { Context } from "effect"

export interface WebAsset {
  readonly contentType: string
  /** Named by its content, so that a browser may keep it forever. */
  readonly immutable: boolean
  readonly etag: string
  readonly gzip: Uint8Array
  readonly brotli: Uint8Array
}

/** By path, such as `/` and `/assets/index-5f2a9c.js`. Empty if the program runs without a build. */
export const WebAssets = Context.Reference<ReadonlyMap<string, WebAsset>>("columba/services/WebAssets", {
  defaultValue: () => new Map()
})
