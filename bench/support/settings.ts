/** How often a figure is taken. A command line may ask for less, to see whether everything works. */
export const quick = process.argv.includes("--quick")

/** Runs a cell: the median is what is reported, so an odd number. */
export const readRuns = (usual: number): number => quick ? 1 : Number(process.env["BENCH_RUNS"] ?? usual)
