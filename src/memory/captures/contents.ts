/**
 * Contents of captures, by the SHA-256 of their bytes: equal content is stored once, compressed. A file appears under
 * its name only when it is complete, and what its name says.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { storageError } from "../storage-error.ts";

/** A quarter of it, as the library has by itself, takes the event loop half as long again: executions wait for that. */
const CHUNK_BYTES = 64 * 1024;
const SYNC_BYTES = 1024 * 1024;
const QUICK = { chunkSize: CHUNK_BYTES, params: { [constants.ZSTD_c_compressionLevel]: 1 } };

export class Contents {
  readonly #folder: string;
  #temporary = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the folder, and clears what an earlier life left unfinished. */
  async start(): Promise<void> {
    await rm(this.#incoming, { recursive: true, force: true });
    await mkdir(this.#incoming, { recursive: true, mode: 0o700 });
  }

  get #incoming(): string {
    return path.join(this.#folder, "incoming");
  }

  #place(digest: string): string {
    return path.join(this.#folder, digest.slice(0, 2), `${digest}.zst`);
  }

  /** Stores a content. Throws `capture_failed` when it is not what its digest says, and storage errors. */
  async put(digest: string, chunks: AsyncIterable<Buffer>): Promise<void> {
    const file = path.join(this.#incoming, `${process.pid}-${++this.#temporary}`);
    const hash = createHash("sha256");
    try {
      await pipeline(
        chunks,
        async function* (source: AsyncIterable<Buffer>) {
          for await (const chunk of source) {
            hash.update(chunk);
            yield chunk;
          }
        },
        createZstdCompress(QUICK),
        (source: AsyncIterable<Buffer>) => writeSynced(file, source),
      );
      if (hash.digest("hex") !== digest) throw damaged(digest);
      const place = this.#place(digest);
      await mkdir(path.dirname(place), { recursive: true, mode: 0o700 });
      await rename(file, place);
    } catch (error) {
      await rm(file, { force: true });
      throw storageError(error);
    }
  }

  /** Writes a content to a file as it was. What cannot be read any more leaves no file, or a shorter one. */
  async take(digest: string, file: string): Promise<void> {
    await pipeline(
      createReadStream(this.#place(digest)),
      createZstdDecompress({ chunkSize: CHUNK_BYTES }),
      createWriteStream(file, { mode: 0o600 }),
    );
  }

  async remove(digests: readonly string[]): Promise<void> {
    await Promise.all(digests.map((digest) => rm(this.#place(digest), { force: true })));
  }

  /** Digests of all that is stored. */
  async *all(): AsyncGenerator<string[]> {
    for (const name of await readdir(this.#folder)) {
      if (!/^[0-9a-f]{2}$/.test(name)) continue;
      const files = await readdir(path.join(this.#folder, name));
      yield files.filter((file) => file.endsWith(".zst")).map((file) => file.slice(0, -".zst".length));
    }
  }
}

/** Writes a file to the disk a little at a time: what others sync meanwhile waits for no more than that. */
async function writeSynced(file: string, chunks: AsyncIterable<Buffer>): Promise<void> {
  const handle = await open(file, "wx", 0o600);
  try {
    let unsynced = 0;
    for await (const chunk of chunks) {
      await handle.writeFile(chunk);
      unsynced += chunk.length;
      if (unsynced < SYNC_BYTES) continue;
      await handle.datasync();
      unsynced = 0;
    }
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

export function damaged(digest: string): ExecuteCodeError {
  return new ExecuteCodeError("capture_failed", {
    message: `A content that was to have the digest ${digest} has another one.`,
  });
}
