/** Samples, their medians, and the table. */

export interface Row {
  readonly name: string;
  /** p50, or the figure itself. */
  readonly value: number;
  readonly p99: number | null;
  readonly unit: "ms" | "MB" | "bytes" | "×" | "modules";
  /** What must not be exceeded by `value`; null for a floor or a peer. */
  readonly bar: number | null;
  readonly met: boolean | null;
  /** Where `value` lies with 95 % confidence, when that is known. */
  readonly interval?: readonly [number, number];
}

export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!;
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

/** Milliseconds of each of `count` calls. */
export async function time(count: number, call: (i: number) => unknown): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await call(i);
    samples.push(performance.now() - start);
  }
  return samples;
}

const RESAMPLINGS = 1_000;

const round = (value: number): number => Number(value.toPrecision(4));

export function figure(name: string, unit: Row["unit"], value: number, bar: number | null): Row {
  return { name, value: round(value), p99: null, unit, bar, met: bar === null ? null : value <= bar };
}

/** One row out of several runs of samples. */
export function latency(name: string, runs: readonly number[][], bar: number | null): Row {
  const p50 = median(runs.map(median));
  return {
    ...figure(name, "ms", p50, bar),
    p99: round(median(runs.map((samples) => quantile(samples, 0.99)))),
  };
}

/** The median of differences that were measured in pairs, with its interval by resampling. */
export function difference(name: string, pairs: readonly number[], bar: number | null): Row {
  const medians: number[] = [];
  const sample = new Float64Array(pairs.length);
  for (let i = 0; i < RESAMPLINGS; i++) {
    for (let j = 0; j < sample.length; j++) sample[j] = pairs[Math.floor(Math.random() * pairs.length)]!;
    sample.sort();
    medians.push(sample[Math.floor(sample.length / 2)]!);
  }
  const interval = [round(quantile(medians, 0.025)), round(quantile(medians, 0.975))] as const;
  return { ...figure(name, "ms", median(pairs), bar), interval };
}

export function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.interval === undefined ? row.name : `${row.name}, ${row.interval.join(" to ")}`,
    `${row.value}`,
    row.p99 === null ? "" : `${row.p99}`,
    row.unit,
    row.bar === null ? "" : `≤ ${row.bar}`,
    row.met === null ? "" : row.met ? "met" : "MISSED",
  ]);
  const all = [["what", "p50", "p99", "unit", "bar", ""], ...cells];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((line) => line[column]!.length)));
  const format = (line: string[]): string =>
    line
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join("  ")
      .trimEnd();
  return [
    format(all[0]!),
    widths.map((width) => "─".repeat(width)).join("  "),
    ...all.slice(1).map(format),
  ].join("\n");
}
