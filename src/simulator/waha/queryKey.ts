/** The key in the query of a URL. */

/** The name of the parameter is matched in any case; the header is ignored. */
export const queryKey = (url: URL): string | null => {
  for (const [name, value] of url.searchParams) if (name.toLowerCase() === "x-api-key") return value
  return null
}
