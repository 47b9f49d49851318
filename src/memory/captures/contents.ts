/** Contents of captures, compressed; each is safe against power loss, and what its name says, before it is there. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { ContentFolder } from "../content-folder.ts";
import { storageError } from "../storage-error.ts";

/** A quarter of it, as the library has by itself, takes the event loop half as long again: executions wait for that. */
const CHUNK_BYTES = 64 * 1024;
const SYNC_BYTES = 256 * 1024;
const QUICK = { chunkSize: CHUNK_BYTES, params: { [constants.ZSTD_c_compressionLevel]: 1 } };

export class Contents extends ContentFolder {
  constructor(folder: string) {
    super(folder, ".zst");
  }

  /** Stores a content. Throws `capture_failed` when it is not what its digest says, and storage errors. */
  async put(digest: string, chunks: AsyncIterable<Buffer>): Promise<void> {
    const file = this.temporaryFile();
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
      await this.move(file, digest, true);
    } catch (error) {
      await rm(file, { force: true });
      throw storageError(error);
    }
  }

  /** Writes a content to a file as it was. What cannot be read any more leaves no file, or a shorter one. */
  async take(digest: string, file: string): Promise<void> {
    await pipeline(
      createReadStream(this.place(digest)),
      createZstdDecompress({ chunkSize: CHUNK_BYTES }),
      createWriteStream(file, { mode: 0o600 }),
    );
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
