/**
 * Separates the bytes of an output FIFO from the boundary marks that the kernel places in it (OUTPUT_MARK).
 * Only marks with the kernel's own nonce count; anything that merely looks like one stays text.
 */
import { OUTPUT_MARK } from "../../contract/frames.ts";

/** ESC ]ec; nonce ; digits BEL: no more digits than this. */
const MAX_DIGITS = 16;
const BEL = OUTPUT_MARK.suffix.charCodeAt(0);

export interface MarkSink {
  bytes(chunk: Buffer): void;
  mark(sequence: number): void;
}

export class MarkSplitter {
  readonly #prefix: Buffer;
  readonly #sink: MarkSink;
  /** Bytes that may be the beginning of a mark. */
  #held: Buffer = Buffer.alloc(0);

  constructor(nonce: string, sink: MarkSink) {
    this.#prefix = Buffer.from(`${OUTPUT_MARK.prefix}${nonce};`, "latin1");
    this.#sink = sink;
  }

  /** The chunk may be reused by the caller afterwards: the sink copies what it keeps. */
  push(chunk: Buffer): void {
    let data = chunk;
    if (this.#held.length > 0) {
      data = Buffer.concat([this.#held, chunk]);
      this.#held = Buffer.alloc(0);
    }
    let from = 0;
    for (;;) {
      const found = data.indexOf(this.#prefix, from);
      if (found === -1) {
        const keep = this.#partialPrefix(data, from);
        this.#emit(data, from, data.length - keep);
        if (keep > 0) this.#held = Buffer.from(data.subarray(data.length - keep));
        return;
      }
      const digits = found + this.#prefix.length;
      const end = data.indexOf(BEL, digits);
      if (end === -1 && data.length - digits <= MAX_DIGITS) {
        this.#emit(data, from, found);
        this.#held = Buffer.from(data.subarray(found));
        return;
      }
      const text = end === -1 || end - digits > MAX_DIGITS ? "" : data.toString("latin1", digits, end);
      if (/^\d+$/.test(text)) {
        this.#emit(data, from, found);
        this.#sink.mark(Number(text));
        from = end + 1;
      } else {
        this.#emit(data, from, digits);
        from = digits;
      }
    }
  }

  /** Gives out what was held back; no mark can follow. */
  end(): void {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    if (held.length > 0) this.#sink.bytes(held);
  }

  #emit(data: Buffer, from: number, to: number): void {
    if (to > from) this.#sink.bytes(data.subarray(from, to));
  }

  /** Length of the longest end of the data that begins the prefix. */
  #partialPrefix(data: Buffer, from: number): number {
    const most = Math.min(this.#prefix.length - 1, data.length - from);
    const window = data.subarray(data.length - most);
    for (
      let at = window.indexOf(this.#prefix[0]!);
      at !== -1;
      at = window.indexOf(this.#prefix[0]!, at + 1)
    ) {
      const tail = window.subarray(at);
      if (tail.equals(this.#prefix.subarray(0, tail.length))) return tail.length;
    }
    return 0;
  }
}
