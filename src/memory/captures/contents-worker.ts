/**
 * Entry of the worker that handles the contents of captures: it reads them from FIFOs, hashes, compresses and writes
 * them. On the main thread the buffers of all that would keep the collector busy, and every execution would wait for it.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { parentPort, workerData } from "node:worker_threads";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import { type Failure, Refusal } from "../ports/failure.ts";
import type { Reply, Request, WorkerMessage } from "../ports/worker-link.ts";
import { storageCode } from "../storage-code.ts";
import { CaptureFolder, type ContentsSetup } from "./capture-folder.ts";
import { Fifo } from "./fifo.ts";
import { Yielding } from "./right-of-way.ts";

const CHUNK_BYTES = 64 * 1024;
/** Others that sync meanwhile wait for no more than this. */
const SYNC_BYTES = 256 * 1024;
const QUICK = { chunkSize: CHUNK_BYTES, params: { [constants.ZSTD_c_compressionLevel]: 1 } };

if (parentPort === null) throw new Error("contents-worker.ts runs in a worker thread");
const port = parentPort;
const setup = workerData as ContentsSetup;
const folder = new CaptureFolder(setup.folder);
/** By their descriptors. */
const fifos = new Map<number, Fifo>();

/** What the main thread asks for. */
const operations = {
  /** Stores the next content of a FIFO. */
  put(fd: number, digest: string, bytes: number): Promise<void> {
    return fifo(fd).take(bytes, (chunks) => store(digest, chunks));
  },

  /** The next content of a FIFO, which is small. */
  read(fd: number, digest: string, bytes: number): Promise<Uint8Array> {
    return fifo(fd).take(bytes, async (chunks) => {
      const data = new Uint8Array(bytes);
      let filled = 0;
      for await (const chunk of chunks) {
        data.set(chunk, filled);
        filled += chunk.length;
      }
      if (createHash("sha256").update(data).digest("hex") !== digest) throw damaged(digest);
      return data;
    });
  },

  /** Nothing more is wanted from a FIFO. */
  release(fd: number): void {
    fifos.get(fd)?.close();
    fifos.delete(fd);
  },

  /** Writes a content to a file as it was. What cannot be read any more leaves no file, or a shorter one. */
  async take(digest: string, file: string): Promise<void> {
    await pipeline(
      createReadStream(folder.place(digest)),
      createZstdDecompress({ chunkSize: CHUNK_BYTES }),
      createWriteStream(file, { mode: 0o600 }),
    );
  },

  /** Nothing follows the answer to it. A FIFO that is still open would keep the worker from its end. */
  close(): void {
    for (const one of fifos.values()) one.close();
    fifos.clear();
    setImmediate(() => port.close());
  },
};

export type ContentOperations = {
  [Name in keyof typeof operations]: (
    ...values: Parameters<(typeof operations)[Name]>
  ) => Awaited<ReturnType<(typeof operations)[Name]>>;
};

port.on("message", (requests: readonly Request[]) => {
  for (const request of requests) void handle(request);
});

async function handle([sequence, name, values]: Request): Promise<void> {
  const operation = operations[name as keyof typeof operations] as (...values: unknown[]) => unknown;
  try {
    reply([sequence, await operation(...values), null]);
  } catch (error) {
    reply([sequence, null, failureOf(error)]);
  }
}

function reply(reply: Reply): void {
  port.postMessage({ replies: [reply] } satisfies WorkerMessage);
}

function failureOf(error: unknown): Failure {
  if (error instanceof Refusal) return error.failure;
  const code = storageCode(error) ?? "storage_failed";
  const reason = error instanceof Error ? error.message : String(error);
  return code === "storage_failed" ? { code, message: reason } : { code, details: { reason } };
}

function fifo(fd: number): Fifo {
  const known = fifos.get(fd) ?? new Fifo(fd);
  fifos.set(fd, known);
  return known;
}

/** Throws `capture_failed` when it is not what its digest says. */
async function store(digest: string, chunks: AsyncIterable<Buffer>): Promise<void> {
  const file = folder.temporaryFile();
  const hash = createHash("sha256");
  const yielding = new Yielding(setup.executions);
  try {
    await pipeline(
      chunks,
      async function* (source: AsyncIterable<Buffer>) {
        for await (const chunk of source) {
          await yielding.turn();
          hash.update(chunk);
          yield chunk;
        }
      },
      createZstdCompress(QUICK),
      (source: AsyncIterable<Buffer>) => writeSynced(file, source, yielding),
    );
    if (hash.digest("hex") !== digest) throw damaged(digest);
    await folder.keep(file, digest);
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  }
}

function damaged(digest: string): Refusal {
  return new Refusal(
    "capture_failed",
    {},
    `A content that was to have the digest ${digest} has another one.`,
  );
}

/** Writes a file to the disk a little at a time. */
async function writeSynced(file: string, chunks: AsyncIterable<Buffer>, yielding: Yielding): Promise<void> {
  const handle = await open(file, "wx", 0o600);
  try {
    let unsynced = 0;
    for await (const chunk of chunks) {
      await handle.writeFile(chunk);
      unsynced += chunk.length;
      if (unsynced < SYNC_BYTES) continue;
      await yielding.turn();
      await handle.datasync();
      unsynced = 0;
    }
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
