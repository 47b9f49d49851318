/**
 * The order of an execution's events, as a run-length list: so many bytes of stdout, then so many of stderr, then
 * a display … Positions in it are the offsets of the event stream (contract/events.ts): a byte counts one, any other
 * event counts one.
 */

/** a accepted · o stdout · e stderr · d display · p progress · i input · x end */
export type EventKind = "a" | "o" | "e" | "d" | "p" | "i" | "x";
export type Run = readonly [kind: EventKind, count: number];

/** A run, with where it begins in the timeline and among the events of its own kind. */
export interface Segment {
  readonly kind: EventKind;
  readonly start: number;
  readonly ordinal: number;
  readonly count: number;
}

/** Runs beyond this are not told apart: an execution that alternates streams this often is cut there. */
const MAX_RUNS = 100_000;

export class Timeline {
  readonly #kinds: EventKind[] = [];
  readonly #starts: number[] = [];
  readonly #ordinals: number[] = [];
  readonly #totals: Record<EventKind, number> = { a: 0, o: 0, e: 0, d: 0, p: 0, i: 0, x: 0 };
  #end = 0;

  static from(runs: ReadonlyArray<readonly [string, number]>): Timeline {
    const timeline = new Timeline();
    for (const [kind, count] of runs) timeline.append(kind as EventKind, count);
    return timeline;
  }

  get end(): number {
    return this.#end;
  }

  get full(): boolean {
    return this.#kinds.length >= MAX_RUNS;
  }

  total(kind: EventKind): number {
    return this.#totals[kind];
  }

  append(kind: EventKind, count: number): void {
    if (count === 0) return;
    if (this.#kinds.at(-1) !== kind) {
      this.#kinds.push(kind);
      this.#starts.push(this.#end);
      this.#ordinals.push(this.#totals[kind]);
    }
    this.#end += count;
    this.#totals[kind] += count;
  }

  /** The run that covers the offset; null at or beyond the end. */
  at(offset: number): Segment | null {
    if (offset >= this.#end || offset < 0) return null;
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    const start = this.#starts[low]!;
    return {
      kind: this.#kinds[low]!,
      start,
      ordinal: this.#ordinals[low]!,
      count: (this.#starts[low + 1] ?? this.#end) - start,
    };
  }

  runs(): Run[] {
    return this.#kinds.map((kind, i) => [kind, (this.#starts[i + 1] ?? this.#end) - this.#starts[i]!]);
  }
}
