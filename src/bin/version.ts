/** The version of this program: put in by the build, and unsaid when it runs from its sources. */
export const version = process.env["COLUMBA_VERSION"] ?? "0.0.0-source"
