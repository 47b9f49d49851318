/** The codec of the kernel protocol: a four-byte big-endian length, then that many bytes of JSON. */
import { isUtf8 } from "node:buffer";
import { LIMITS } from "../../contract/limits.ts";

const HEADER = 4;

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
      try {
        frames.push(JSON.parse(body.toString("utf8")));
      } catch (cause) {
        throw new FrameError("a frame is not JSON", { cause });
      }
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
