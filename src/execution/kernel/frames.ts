/** The codec of the kernel protocol: a four-byte big-endian length, then that many bytes of JSON. */
import { isUtf8 } from "node:buffer";
import { LIMITS } from "../../contract/limits.ts";

const HEADER = 4;
/** What Python can write without being told to go deeper. */
const FRAME_LEVELS = 1_000;

export function encodeFrame(frame: object): Buffer {
  const json = JSON.stringify(frame);
  const bytes = Buffer.byteLength(json);
  if (bytes > LIMITS.frameBytes)
    throw new RangeError(`a frame of ${bytes} bytes exceeds ${LIMITS.frameBytes}`);
  const buffer = Buffer.allocUnsafe(HEADER + bytes);
  buffer.writeUInt32BE(bytes, 0);
  buffer.write(json, HEADER);
  return buffer;
}

/** Thrown for bytes that are no frames; the channel they came from cannot be trusted further. */
export class FrameError extends Error {}

/** Cuts a byte stream into frames. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #length = 0;

  /** The values of all frames that are complete with this chunk. Throws FrameError. */
  push(chunk: Buffer): unknown[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const frames: unknown[] = [];
    while (this.#length >= HEADER) {
      const size = this.#peekSize();
      if (size > LIMITS.frameBytes) throw new FrameError(`a frame of ${size} bytes exceeds the bound`);
      if (this.#length < HEADER + size) break;
      const body = this.#take(HEADER + size).subarray(HEADER);
      if (!isUtf8(body)) throw new FrameError("a frame is not UTF-8");
      let frame: unknown;
      try {
        frame = JSON.parse(body.toString("utf8"));
      } catch (cause) {
        throw new FrameError("a frame is not JSON", { cause });
      }
      if (!isShallow(frame)) throw new FrameError(`a frame has more than ${FRAME_LEVELS} levels`);
      frames.push(frame);
    }
    return frames;
  }

  #peekSize(): number {
    if (this.#chunks[0]!.length < HEADER) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!.readUInt32BE(0);
  }

  #take(bytes: number): Buffer {
    const first = this.#chunks[0]!;
    const all = first.length >= bytes ? first : Buffer.concat(this.#chunks);
    const rest = all.subarray(bytes);
    this.#chunks = first.length >= bytes ? this.#chunks.slice(1) : [];
    if (rest.length > 0) this.#chunks.unshift(rest);
    this.#length -= bytes;
    return all.subarray(0, bytes);
  }
}

/** Whether all that looks at it level by level has stack enough. */
function isShallow(frame: unknown): boolean {
  let level: unknown[] = [frame];
  for (let count = 0; level.length > 0; count++) {
    if (count > FRAME_LEVELS) return false;
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== "object" || value === null) continue;
      for (const inner of Object.values(value)) next.push(inner);
    }
    level = next;
  }
  return true;
}
