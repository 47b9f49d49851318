/**
 * Where sessions get their kernels from. A few boxes are kept warm: each with its kernel forked, dialled in, and
 * standing in a session folder of its own, so that a new session starts at once. A session that exists already, or
 * that names an interpreter, takes the cold path.
 */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import type { IsolationTier } from "../../contract/records.ts";
import { newSessionId } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Interpreters } from "../languages/python/interpreter.ts";
import { kernelEnvironment } from "../languages/python/launch.ts";
import type { Isolation } from "../sandbox/isolation.ts";
import { Box } from "./box.ts";
import type { Kernel } from "./kernel.ts";

/** A kernel with the box that holds it. */
export interface Placed {
  readonly kernel: Kernel;
  /** Ends the kernel and everything that it started. */
  close(): Promise<void>;
}

export interface Warm extends Placed {
  /** The id that the new session must take: the kernel stands in its folder. */
  readonly sessionId: string;
}

export interface KernelsOptions {
  readonly interpreters: Interpreters;
  readonly isolation: Isolation;
  readonly runtime: string;
  /** Parent of the sessions' folders. */
  readonly sessions: string;
  /** How many boxes are kept warm. */
  readonly warm: number;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
}

/** The pool fills up again when a burst of new sessions is over, not in competition with their first executions. */
const REFILL_DELAY_MS = 25;
/** After a failed attempt to warm a box. */
const RETRY_DELAY_MS = 5_000;

export class Kernels {
  readonly #options: KernelsOptions;
  readonly #warm: Warm[] = [];
  readonly #boxes = new Set<Box>();
  #filling: Promise<void> | null = null;
  /** A new session that takes the box which is being warmed. */
  #waiting: ((warm: Warm | null) => void) | null = null;
  /** Ids of warm kernels, and of those that are being made. */
  readonly #reserved = new Set<string>();
  #refill: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: KernelsOptions) {
    this.#options = options;
  }

  get isolation(): Isolation {
    return this.#options.isolation;
  }

  get warm(): number {
    return this.#warm.length;
  }

  /** True for the id that a warm kernel stands ready to take. */
  reserved(sessionId: string): boolean {
    return this.#reserved.has(sessionId);
  }

  /** Begins to fill the pool; a failure is logged and tried again. */
  start(): void {
    this.#scheduleRefill(0);
  }

  workspace(sessionId: string): string {
    return path.join(this.#options.sessions, sessionId, "work");
  }

  /**
   * A warm kernel of the default interpreter and the strongest tier: one that is ready, or the one that is being made
   * ready. Null when others wait for that already, or the pool is empty, when the cold path is quicker; and for
   * another tier.
   */
  async take(tier: IsolationTier): Promise<Warm | null> {
    if (tier !== this.isolation.strongest) return null;
    let warm = this.#warm.shift();
    while (warm !== undefined && !warm.kernel.alive) warm = this.#warm.shift();
    if (warm === undefined && this.#filling !== null && this.#waiting === null) {
      return new Promise((resolve) => {
        this.#waiting = resolve;
      });
    }
    this.#scheduleRefill(REFILL_DELAY_MS);
    return warm ?? null;
  }

  /** Throws `no_python` when a session with this interpreter could not run. */
  async check(python: string | null): Promise<void> {
    await this.#options.interpreters.find(python ?? undefined);
  }

  /** A kernel for this session, in its folder. Throws `no_python`, `no_isolation` or `kernel_start_failed`. */
  async launch(sessionId: string, python: string | null, tier: IsolationTier): Promise<Placed> {
    const { interpreters, isolation, runtime, env, log } = this.#options;
    const enclosure = isolation.enclosure(tier);
    const workspace = this.workspace(sessionId);
    const [interpreter] = await Promise.all([
      interpreters.find(python ?? undefined),
      mkdir(workspace, { recursive: true, mode: 0o700 }),
    ]);
    const box = await Box.start({
      enclose: (folder) => enclosure.enclose({ folder, work: workspace, interpreter }),
      runtime,
      log,
      env: (enclosed) => kernelEnvironment(env, interpreter, enclosed, tier !== "none"),
    });
    this.#boxes.add(box);
    void box.ended.then(() => this.#boxes.delete(box));
    if (this.#closed) await box.stop();
    return { kernel: box.kernel, close: () => box.stop() };
  }

  #scheduleRefill(delay: number): void {
    if (this.#closed || this.#refill !== null || this.#warm.length >= this.#options.warm) return;
    if (this.isolation.strongest === null) return;
    this.#refill = setTimeout(() => {
      this.#refill = null;
      this.#filling ??= this.#fill().finally(() => {
        this.#filling = null;
        this.#handOver(null);
      });
    }, delay);
    this.#refill.unref();
  }

  async #fill(): Promise<void> {
    while (!this.#closed && (this.#warm.length < this.#options.warm || this.#waiting !== null)) {
      const sessionId = newSessionId();
      const tier = this.isolation.strongest!;
      this.#reserved.add(sessionId);
      try {
        const warm = { ...(await this.launch(sessionId, null, tier)), sessionId };
        if (this.#waiting === null) this.#warm.push(warm);
        else this.#handOver(warm);
      } catch (error) {
        this.#options.log.warn({ err: error }, "no warm kernel");
        await rm(path.dirname(this.workspace(sessionId)), { recursive: true, force: true });
        this.#handOver(null);
        this.#scheduleRefill(RETRY_DELAY_MS);
        return;
      }
    }
  }

  #handOver(warm: Warm | null): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.(warm);
  }

  /** Ends every box, warm and in use. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#refill !== null) clearTimeout(this.#refill);
    await this.#filling;
    await Promise.all([...this.#boxes].map((box) => box.stop()));
    await Promise.all(
      this.#warm.map(({ sessionId }) =>
        rm(path.dirname(this.workspace(sessionId)), { recursive: true, force: true }),
      ),
    );
  }
}
