/** The part of `pg` that the floors use. The package has no types, and only the floors use it. */
declare module "pg" {
  class Client {
    constructor(options: { readonly connectionString: string })
    connect(): Promise<void>
    end(): Promise<void>
    query<Row = unknown>(
      query: string | { readonly name?: string; readonly text: string; readonly values: ReadonlyArray<unknown> }
    ): Promise<{ readonly rows: ReadonlyArray<Row> }>
  }
  const pg: { readonly Client: typeof Client }
  export default pg
}
