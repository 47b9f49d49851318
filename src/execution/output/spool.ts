/**
 * What one execution wrote to one stream: in memory while it is small, then in a file, up to a bound.
 * Bytes beyond the bound are counted and dropped. Writing is synchronous into the page cache, so that the order is
 * plain and memory stays flat however fast the output comes.
 */
import { createHash, type Hash } from "node:crypto";
import { closeSync, fdatasyncSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { LIMITS } from "../../contract/limits.ts";

export interface SpoolSummary {
  /** Bytes kept. */
  readonly bytes: number;
  /** Bytes dropped beyond the bound, or because the disk took no more. */
  readonly dropped: number;
}

export class Spool {
  readonly #file: string;
  readonly #limit: number;
  #memory: Buffer[] = [];
  #fd: number | null = null;
  /** Digest of the file so far; what is in memory is digested when asked. */
  readonly #hash: Hash = createHash("sha256");
  #bytes = 0;
  #dropped = 0;
  /** Why the file took no more, once it did not. */
  #failure: Error | null = null;

  /** The file is only made when the output outgrows memory. `limit`: bytes that are kept. */
  constructor(file: string, limit: number) {
    this.#file = file;
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get dropped(): number {
    return this.#dropped;
  }

  get failure(): Error | null {
    return this.#failure;
  }

  /** Keeps a copy of the chunk; returns how many of its bytes were kept. */
  append(chunk: Buffer): number {
    const room = this.#failure === null ? this.#limit - this.#bytes : 0;
    const part = chunk.length <= room ? chunk : chunk.subarray(0, Math.max(room, 0));
    let kept = part.length;
    if (part.length > 0) {
      if (this.#fd === null && this.#bytes + part.length <= LIMITS.spoolMemoryBytes) {
        this.#memory.push(Buffer.from(part));
      } else {
        kept = this.#writeToFile(part);
      }
      this.#bytes += kept;
    }
    this.#dropped += chunk.length - kept;
    return kept;
  }

  /** Counts bytes that are not kept. */
  drop(bytes: number): void {
    this.#dropped += bytes;
  }

  #writeToFile(part: Buffer): number {
    let written = 0;
    try {
      if (this.#fd === null) {
        this.#fd = openSync(this.#file, "wx+", 0o600);
        const held = Buffer.concat(this.#memory);
        writeAll(this.#fd, held);
        this.#hash.update(held);
        this.#memory = [];
      }
      while (written < part.length) written += writeSync(this.#fd, part, written);
    } catch (error) {
      this.#failure = error as Error;
    }
    this.#hash.update(part.subarray(0, written));
    return written;
  }

  /** Bytes [from, to) of what was kept. */
  read(from: number, to: number): Buffer {
    const end = Math.min(to, this.#bytes);
    if (from >= end) return Buffer.alloc(0);
    if (this.#fd === null) {
      if (this.#memory.length > 1) this.#memory = [Buffer.concat(this.#memory)];
      return this.#memory[0]!.subarray(from, end);
    }
    const buffer = Buffer.allocUnsafe(end - from);
    let read = 0;
    while (read < buffer.length) {
      const got = readSync(this.#fd, buffer, read, buffer.length - read, from + read);
      if (got === 0) break;
      read += got;
    }
    return buffer.subarray(0, read);
  }

  /** The file that holds everything, forced to disk when `sync`; null while it all fits in memory. */
  file(sync: boolean): string | null {
    if (this.#fd === null) return null;
    if (sync) fdatasyncSync(this.#fd);
    return this.#file;
  }

  /** SHA-256 of what was kept, in hexadecimal. */
  digest(): string {
    const hash = this.#hash.copy();
    if (this.#fd === null) for (const chunk of this.#memory) hash.update(chunk);
    return hash.digest("hex");
  }

  /** Ends reading and writing. The file is removed unless it was moved away. */
  close(): void {
    if (this.#fd !== null) {
      closeSync(this.#fd);
      rmSync(this.#file, { force: true });
    }
    this.#fd = null;
    this.#memory = [];
  }
}

function writeAll(fd: number, data: Buffer): void {
  for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
}
