/** Contents of captures; each is safe against power loss, and what its name says, before it is there. */
import { closeSync } from "node:fs";
import { OccasionalWorker } from "../ports/occasional-worker.ts";
import { type StorageLog, WorkerLink, workerEntry } from "../ports/worker-link.ts";
import { CaptureFolder, type ContentsSetup } from "./capture-folder.ts";
import type { ContentOperations } from "./contents-worker.ts";

const ENTRY = workerEntry("contents-worker", import.meta.url);

export class Contents extends CaptureFolder {
  readonly #worker: OccasionalWorker<ContentOperations>;
  /** FIFOs that the worker reads, by their descriptors. */
  readonly #read = new Map<number, Disposable>();

  constructor(folder: string, executions: SharedArrayBuffer, log: StorageLog) {
    super(folder);
    const data: ContentsSetup = { folder, executions };
    this.#worker = new OccasionalWorker(
      () => new WorkerLink({ entry: ENTRY, name: "storage captures", data }, log),
    );
  }

  /**
   * Stores the next content of a FIFO, which has so many bytes. Throws `capture_failed` when it is not what its digest
   * says, and storage errors.
   */
  put(fifo: number, digest: string, bytes: number): Promise<void> {
    this.#handOver(fifo);
    return this.#worker.call("put", fifo, digest, bytes);
  }

  /** The next content of a FIFO, which is small and is not stored. Throws `capture_failed`. */
  read(fifo: number, digest: string, bytes: number): Promise<Uint8Array> {
    this.#handOver(fifo);
    return this.#worker.call("read", fifo, digest, bytes);
  }

  #handOver(fifo: number): void {
    if (!this.#read.has(fifo)) this.#read.set(fifo, this.#worker.need());
  }

  /** Closes a FIFO. */
  async release(fifo: number): Promise<void> {
    using needed = this.#read.get(fifo);
    this.#read.delete(fifo);
    if (needed === undefined) closeSync(fifo);
    // A worker that has died has closed it.
    else await this.#worker.call("release", fifo).catch(() => {});
  }

  /** Writes a content to a file as it was. What cannot be read any more leaves no file, or a shorter one. */
  take(digest: string, file: string): Promise<void> {
    return this.#worker.call("take", digest, file);
  }

  /** Ends the worker when it has answered. */
  async close(): Promise<void> {
    await this.#worker.end();
  }
}
