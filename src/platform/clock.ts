/** Now, on the machine's monotonic clock, which the processes of a box read, too; milliseconds. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
