/** How often a figure is measured. The command line may request less, to check that everything works. */
export const quick = process.argv.includes("--quick")

/** Runs per cell. The median is reported, so the number is odd. */
export const readRuns = (usual: number): number => quick ? 1 : Number(process.env["BENCH_RUNS"] ?? usual)
