/**
 * Writes that were promised before the database has them.
 *
 * What need only survive the death of the process — an acceptance, the end of a relaxed execution — is appended to a
 * file on the calling thread, which takes microseconds. The database gets it a moment later, together with what else
 * was promised meanwhile: one message, one transaction; or at once, before anything else that the database is asked.
 * What the file holds beyond the database after a crash is applied at the next start; applying a write again changes
 * nothing. The file is emptied whenever the database has caught up. A loss of power may leave holes in it, and pages of
 * different times: each line has a checksum, and what does not fit its own is left out.
 *
 * States: direct (writes are promised) ⇄ behind (the database refused one: promised writes are offered again, in
 * order, and until it takes them nothing new is promised).
 */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { checked, withChecksum } from "./checksum.ts";
import { failureOf } from "./failures.ts";

export type PromisedWrite = readonly [operation: "accept" | "finish", ...values: unknown[]];

/** How long a promised write waits for others. */
const GATHER_MS = 10;
/** As many are not kept waiting longer. */
const GATHER_MOST = 64;
/** How long until refused writes are offered again. */
const RETRY_MS = 1_000;
/** The file is emptied when it has grown beyond this and holds nothing that the database lacks. */
const KEPT_BYTES = 1024 * 1024;

export class PendingWrites {
  readonly #file: string;
  readonly #apply: (write: PromisedWrite) => Promise<unknown>;
  #descriptor: number | null = null;
  #bytes = 0;
  /** Promised, and not given to the database yet. */
  #gathered: PromisedWrite[] = [];
  #gathering: NodeJS.Timeout | null = null;
  /** Promised, and not answered by the database yet. */
  #open = 0;
  /** Settles with the last promised write: the database takes them in order. */
  #last: Promise<void> = Promise.resolve();
  /** Refused by the database, in order. */
  #refused: PromisedWrite[] = [];
  #catchingUp: Promise<void> | null = null;
  #retry: NodeJS.Timeout | null = null;

  constructor(file: string, apply: (write: PromisedWrite) => Promise<unknown>) {
    this.#file = file;
    this.#apply = apply;
  }

  /** Applies what an earlier life promised. Fails as the database does. */
  async start(): Promise<void> {
    try {
      this.#descriptor = openSync(this.#file, "a+", 0o600);
    } catch (error) {
      throw this.#exception(error);
    }
    const lines = readFileSync(this.#file, "utf8").split("\n");
    // A line without its end was never promised.
    lines.pop();
    for (const line of lines) {
      const write = checked(line);
      if (write !== null) await this.#applyAgain(JSON.parse(write) as PromisedWrite);
    }
    this.#empty();
  }

  /** True while the database has refused something that was promised. */
  get behind(): boolean {
    return this.#refused.length > 0;
  }

  /**
   * Returns when the write survives the death of this process. Throws storage_full and its kin, and then promises
   * nothing.
   */
  promise(write: PromisedWrite): void {
    const line = Buffer.from(`${withChecksum(JSON.stringify(write))}\n`);
    this.#append(line);
    this.#open += 1;
    this.#gathered.push(write);
    if (this.#gathered.length >= GATHER_MOST) this.flush();
    else this.#gathering ??= setTimeout(() => this.flush(), GATHER_MS);
  }

  /** Gives the database what was promised: in order, and before whatever it is asked next. */
  flush(): void {
    if (this.#gathering !== null) clearTimeout(this.#gathering);
    this.#gathering = null;
    const writes = this.#gathered;
    this.#gathered = [];
    for (const write of writes) {
      this.#last = this.#apply(write).then(
        () => this.#settled(),
        () => {
          this.#refused.push(write);
          this.#scheduleRetry();
          this.#settled();
        },
      );
    }
  }

  /** Offers refused writes again, in order. Fails with the reason of the first that is refused once more. */
  catchUp(): Promise<void> {
    this.#catchingUp ??= this.#offerAgain().finally(() => {
      this.#catchingUp = null;
    });
    return this.#catchingUp;
  }

  /** What the database still refuses stays in the file, for the next start. */
  async close(): Promise<void> {
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (this.#descriptor === null) return;
    this.flush();
    await this.#last;
    await this.catchUp().catch(() => {});
    if (!this.behind) this.#empty();
    closeSync(this.#descriptor);
    this.#descriptor = null;
  }

  #append(line: Buffer): void {
    if (this.#descriptor === null)
      throw new ExecuteCodeError("storage_failed", { message: "The storage is closed." });
    const before = this.#bytes;
    try {
      for (let at = 0; at < line.length; ) at += writeSync(this.#descriptor, line, at);
      this.#bytes += line.length;
    } catch (error) {
      // A part of a line would spoil the next one.
      ftruncateSync(this.#descriptor, before);
      throw this.#exception(error);
    }
  }

  #settled(): void {
    this.#open -= 1;
    if (this.#open === 0 && !this.behind && this.#bytes > KEPT_BYTES) this.#empty();
  }

  async #offerAgain(): Promise<void> {
    for (let write = this.#refused[0]; write !== undefined; write = this.#refused[0]) {
      await this.#applyAgain(write);
      this.#refused.shift();
    }
  }

  /** A refusal that is no failure of the disk is final: offering the write again would meet it for ever. */
  async #applyAgain(write: PromisedWrite): Promise<void> {
    try {
      await this.#apply(write);
    } catch (error) {
      if (error instanceof ExecuteCodeError && error.retryable) throw error;
    }
  }

  #scheduleRetry(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.catchUp().catch(() => this.#scheduleRetry());
    }, RETRY_MS).unref();
  }

  #empty(): void {
    if (this.#descriptor === null) return;
    ftruncateSync(this.#descriptor, 0);
    this.#bytes = 0;
  }

  #exception(error: unknown): ExecuteCodeError {
    const { code, details } = failureOf(error, this.#file);
    return new ExecuteCodeError(code, { ...(details === undefined ? {} : { details }), cause: error });
  }
}
