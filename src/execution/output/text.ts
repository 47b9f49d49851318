/** Text out of raw output bytes, never cut inside a character. */
import { isUtf8 } from "node:buffer";

/** Length of the incomplete character at the end of the bytes: 0 to 3. */
export function incompleteTail(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) {
      const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return back < needed ? back : 0;
    }
  }
  return 0;
}

/** Number of continuation bytes at the start: the rest of a character that began before. */
function continuationHead(bytes: Buffer): number {
  let count = 0;
  while (count < Math.min(3, bytes.length) && (bytes[count]! & 0xc0) === 0x80) count++;
  return count;
}

interface Source {
  readonly bytes: number;
  read(from: number, to: number): Buffer;
}

export interface BoundedText {
  readonly text: string;
  /** Bytes that the text leaves out. */
  readonly omitted: number;
  /** False when it is whole and no UTF-8, so that the bytes cannot be had back from the text. */
  readonly valid: boolean;
}

/** All of a stream when it fits, else its head and tail around a line that says how much is left out. */
export function boundedText(source: Source, head: number, tail: number): BoundedText {
  if (source.bytes <= head + tail) {
    const all = source.read(0, source.bytes);
    return { text: all.toString("utf8"), omitted: 0, valid: isUtf8(all) };
  }
  const first = source.read(0, head);
  const start = first.subarray(0, first.length - incompleteTail(first));
  const last = source.read(source.bytes - tail, source.bytes);
  const end = last.subarray(continuationHead(last));
  const omitted = source.bytes - start.length - end.length;
  return {
    text: `${start.toString("utf8")}\n… ${omitted} bytes left out …\n${end.toString("utf8")}`,
    omitted,
    valid: true,
  };
}
