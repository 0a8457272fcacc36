/** The version of this program: set by the build, and unknown when it runs from its sources. */
export const version = process.env["COLUMBA_VERSION"] ?? "0.0.0-source"
