/**
 * Late output of one session: what threads, tasks and processes write after the end of the execution that started
 * them. It is stored with that execution, and told once with the session's next record.
 */
import { StringDecoder } from "node:string_decoder";
import { LIMITS } from "../../contract/limits.ts";
import type { LateOutput } from "../../contract/records.ts";
import type { StreamName } from "../../execution/index.ts";

/** How long output is gathered before it is stored. */
const GATHER_MS = 100;
/** Streams that are remembered after their output is stored and told. */
const KEPT = 64;

/** One stream of one execution. */
class Late {
  readonly execution: string;
  readonly stream: StreamName;
  readonly #decoder = new StringDecoder("utf8");
  #bytes = 0;
  /** What the store does not have yet, and what no record has told yet. */
  unstored = "";
  untold = "";

  constructor(execution: string, stream: StreamName) {
    this.execution = execution;
    this.stream = stream;
  }

  add(bytes: Buffer): void {
    const room = LIMITS.lateBytes - this.#bytes;
    if (room < 0) return;
    const text = this.#decoder.write(bytes.subarray(0, room));
    this.#bytes += bytes.length;
    const rest = this.#bytes > LIMITS.lateBytes ? "\n… more late output is left out …\n" : "";
    this.unstored += text + rest;
    this.untold += text + rest;
  }
}

export class LateOutputs {
  /** Stores output with its execution. */
  readonly #store: (outputs: LateOutput[]) => Promise<void>;
  readonly #lates = new Map<string, Late>();
  #timer: NodeJS.Timeout | null = null;

  constructor(store: (outputs: LateOutput[]) => Promise<void>) {
    this.#store = store;
  }

  /** The bytes are only read during the call. */
  add(execution: string, stream: StreamName, bytes: Buffer): void {
    // What the kernel's process itself wrote before its first execution belongs to none.
    if (execution === "") return;
    const key = `${execution} ${stream}`;
    let late = this.#lates.get(key);
    if (late === undefined) {
      late = new Late(execution, stream);
      this.#forgetOldest();
      this.#lates.set(key, late);
    }
    late.add(bytes);
    this.#timer ??= setTimeout(() => void this.flush(), GATHER_MS).unref();
  }

  #forgetOldest(): void {
    for (const [key, late] of this.#lates) {
      if (this.#lates.size < KEPT) return;
      if (late.unstored === "" && late.untold === "") this.#lates.delete(key);
    }
  }

  /** What has come since the last call. */
  takeNews(): LateOutput[] {
    const news: LateOutput[] = [];
    for (const late of this.#lates.values()) {
      if (late.untold === "") continue;
      news.push({ execution: late.execution, stream: late.stream, text: late.untold });
      late.untold = "";
    }
    return news;
  }

  /** Stores what has been gathered. Never rejects: a store that refuses is told of by its owner. */
  async flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const outputs: LateOutput[] = [];
    for (const late of this.#lates.values()) {
      if (late.unstored === "") continue;
      outputs.push({ execution: late.execution, stream: late.stream, text: late.unstored });
      late.unstored = "";
    }
    if (outputs.length > 0) await this.#store(outputs);
  }
}
