/** How often the gates of this folder try. The suite runs a few rounds; EXECUTE_CODE_CRASH_ROUNDS=100 is the long run. */
const SHORT_ROUNDS = 4;
const LONG_ROUNDS = 100;

export const ROUNDS: number = Number(process.env.EXECUTE_CODE_CRASH_ROUNDS ?? SHORT_ROUNDS);
/** Figures are asserted only there: the suite runs beside other tests. */
export const IS_LONG: boolean = ROUNDS >= LONG_ROUNDS;

/** `few` in the suite, `many` in the long run, in proportion between and beyond. */
export function scaled(few: number, many: number): number {
  const share = (ROUNDS - SHORT_ROUNDS) / (LONG_ROUNDS - SHORT_ROUNDS);
  return Math.max(1, Math.round(few + Math.max(0, share) * (many - few)));
}

/** A line of a gate's outcome, beside the test's own. */
export function tell(line: string): void {
  process.stdout.write(`      ${line}\n`);
}

/** What so many of all took at most, of a sorted list: 0.5 is the median. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
