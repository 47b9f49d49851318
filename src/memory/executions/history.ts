/** Executions by id: those that run, from this daemon's memory; those that ended, from the store. */
import type { Readable } from "node:stream";
import type { HistoryPage, HistoryQuery } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { ExecutionEvent } from "../../contract/events.ts";
import { EXECUTION_ID, type ExecutionRecord } from "../../contract/records.ts";
import type { StreamName } from "../../execution/index.ts";
import type { Artifacts } from "../artifacts.ts";
import type { Store, StoredExecution } from "../ports/store.ts";
import { checkCondition } from "../values.ts";
import type { Execution } from "./execution.ts";
import { openStored, streamArtifact } from "./stored.ts";

/** Bytes with their media type, as a file or in memory. */
export interface Content {
  readonly mime: string;
  /** Null: not known before the stream's end. */
  readonly bytes: number | null;
  /** The stream ends early when there is less than said; who takes it destroys it. */
  readonly source: { readonly file: string } | { readonly memory: Buffer } | { readonly stream: Readable };
  /** It is the session's own: no browser is to show it. */
  readonly attachment?: true;
}

export class History {
  readonly #store: Store;
  readonly #artifacts: Artifacts;
  readonly #live = new Map<string, Execution>();
  /** Readers of a live transcript, which keeps its content until they are done. */
  readonly #readers = new Map<Execution, number>();

  constructor(store: Store, artifacts: Artifacts) {
    this.#store = store;
    this.#artifacts = artifacts;
  }

  /** Executions that wait or run. */
  get running(): number {
    return this.#live.size;
  }

  add(execution: Execution): void {
    this.#live.set(execution.id, execution);
  }

  /** Its record is stored. */
  settle(execution: Execution): void {
    this.#live.delete(execution.id);
    if (!this.#readers.has(execution)) execution.close();
  }

  live(id: string): Execution | null {
    return this.#live.get(id) ?? null;
  }

  /** Throws `unknown_execution`. */
  async get(id: string): Promise<ExecutionRecord> {
    return this.#live.get(id)?.recordSoFar() ?? (await this.#stored(id)).record;
  }

  /** The record when it has ended; after the wait, or `until` it asks for input, the record so far. */
  async wait(id: string, ms: number, until: "end" | "input" = "end"): Promise<ExecutionRecord> {
    const execution = this.#live.get(id);
    if (execution === undefined || ms === 0) return this.get(id);
    const { promise, resolve } = Promise.withResolvers<null>();
    const timer = setTimeout(() => resolve(null), ms);
    if (until === "input") void execution.asked().then(() => resolve(null));
    try {
      return (await Promise.race([execution.recorded, promise])) ?? execution.recordSoFar();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Events from the offset on, to the end. */
  async *follow(id: string, offset: number, signal: AbortSignal): AsyncGenerator<ExecutionEvent> {
    const execution = this.#live.get(id);
    if (execution !== undefined) {
      yield* this.followLive(execution, offset, signal);
      return;
    }
    const open = openStored(await this.#stored(id), this.#artifacts);
    try {
      yield* open.transcript.follow(offset, signal);
    } finally {
      open.close();
    }
  }

  async *followLive(
    execution: Execution,
    offset: number,
    signal: AbortSignal,
  ): AsyncGenerator<ExecutionEvent> {
    this.#readers.set(execution, (this.#readers.get(execution) ?? 0) + 1);
    try {
      yield* execution.transcript.follow(offset, signal);
    } finally {
      const others = this.#readers.get(execution)! - 1;
      if (others > 0) this.#readers.set(execution, others);
      else this.#readers.delete(execution);
      if (others === 0 && !this.#live.has(execution.id)) execution.close();
    }
  }

  /** Throws `invalid_request` for a condition that is not understood. */
  async search(query: HistoryQuery): Promise<HistoryPage> {
    if (query.where !== undefined) checkCondition(query.where);
    return this.#store.search(query);
  }

  /** All that was kept of a stream. Throws `unknown_execution`. */
  async output(id: string, stream: StreamName): Promise<Content> {
    const execution = this.#live.get(id);
    if (execution !== undefined) {
      const memory = execution.content(stream);
      return { mime: "text/plain; charset=utf-8", bytes: memory.length, source: { memory } };
    }
    const { record } = await this.#stored(id);
    const artifact = streamArtifact(record, stream);
    if (artifact !== null) return this.#content(artifact.mime, artifact.sha256, artifact.bytes);
    const memory = Buffer.from(record[stream], "utf8");
    return { mime: "text/plain; charset=utf-8", bytes: memory.length, source: { memory } };
  }

  /** Throws `unknown_execution` or `unknown_artifact`. */
  async artifact(id: string, number: number): Promise<Content> {
    const { record } = await this.#stored(id);
    const artifact = record.artifacts.find((candidate) => candidate.number === number);
    if (artifact === undefined) {
      throw new ExecuteCodeError("unknown_artifact", {
        message: `The execution ${id} has no artifact ${number}; it has ${record.artifacts.length}.`,
      });
    }
    return this.#content(artifact.mime, artifact.sha256, artifact.bytes);
  }

  #content(mime: string, sha256: string, bytes: number): Content {
    return { mime, bytes, source: { file: this.#artifacts.place(sha256) } };
  }

  async #stored(id: string): Promise<StoredExecution> {
    const stored = EXECUTION_ID.test(id) ? await this.#store.getExecution(id) : null;
    if (stored === null) {
      throw new ExecuteCodeError("unknown_execution", {
        message: `There is no execution \`${id.slice(0, 80)}\`.`,
      });
    }
    return stored;
  }
}
