/**
 * Keeps one session's variables on the disk: when it has been idle for a moment, and something has changed since the
 * last time. A capture that hangs is ended, and made again without the variables that it hung on.
 */
import { LIMITS } from "../../contract/limits.ts";
import type { Capture, CaptureReceiver, CaptureScope } from "../../execution/index.ts";
import type { Logger } from "../../platform/logger.ts";
import type { CaptureMoment, Captures } from "../captures/captures.ts";
import type { StoredCapture } from "../ports/store.ts";
import { isStorageError } from "../storage-error.ts";
import type { MemoryState } from "./snapshots.ts";

/** What a capture begins with. */
export interface CaptureStart {
  readonly capture: Capture;
  readonly moment: CaptureMoment;
  readonly state: MemoryState;
}

export interface KeeperOptions {
  readonly captures: Captures;
  readonly log: Logger;
  /** Nothing runs or waits. */
  readonly idle: () => boolean;
  /** The state that the memory is in, and where the session stands; null without a kernel. */
  readonly state: () => MemoryState | null;
  /** Forks the session's kernel for it. */
  readonly begin: (receiver: CaptureReceiver, scope: CaptureScope) => Promise<CaptureStart>;
}

const LOOK_MS = 250;
/** How often a capture is begun anew without what it hung on. */
const ATTEMPTS = 4;
/** Captures take at most this part of the time. */
const SHARE = 10;

export class Keeper {
  readonly #options: KeeperOptions;
  #captured: MemoryState | null = null;
  #timer: NodeJS.Timeout | null = null;
  #working: Promise<StoredCapture | null> | null = null;
  #notBefore = 0;
  /** What captures of this session have hung on. */
  readonly #skip: Record<string, string> = {};

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** The memory may have changed, these variables for sure: it is captured when the session has been idle for a moment. */
  changed(names: readonly string[]): void {
    for (const name of names) delete this.#skip[name];
    if (this.#timer !== null) clearTimeout(this.#timer);
    const pause = Math.max(LIMITS.captureQuietMs, this.#notBefore - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (!this.#options.idle()) return; // Its end says `changed` again.
      this.capture(null).catch((error: unknown) => {
        this.#options.log.warn({ err: error }, "the variables were not captured");
      });
    }, pause).unref();
  }

  /**
   * Captures at once, unless this very state has been captured without a name; null when there was nothing to do.
   * `anew`: the memory may have moved within that state.
   */
  async capture(name: string | null, anew = false): Promise<StoredCapture | null> {
    if (this.#working !== null) await this.#working.catch(() => {});
    if (name === null && !anew && this.#options.state() === this.#captured) return null;
    this.#working = this.#capture(name).finally(() => {
      this.#working = null;
    });
    return this.#working;
  }

  /** Before the session's kernel ends: what is not on the disk yet, within a bounded time. */
  async last(): Promise<void> {
    this.stop();
    const late = Promise.withResolvers<null>();
    const timer = setTimeout(() => late.resolve(null), LIMITS.captureLastMs);
    try {
      await Promise.race([this.capture(null), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #capture(name: string | null): Promise<StoredCapture | null> {
    const { captures, log } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const incoming = captures.incoming();
      const began = performance.now();
      try {
        const { capture, moment, state } = await this.#options.begin(incoming, { skip: this.#skip });
        const unwatch = this.#watch(capture, began);
        try {
          const manifest = await capture.manifest;
          const kept = await captures.keep(moment, name, manifest, incoming);
          this.#captured = state;
          return kept;
        } catch (error) {
          // What the disk refuses is no variable's fault.
          if (attempt === ATTEMPTS || capture.working.length === 0 || isStorageError(error)) throw error;
          log.warn({ err: error, variables: capture.working }, "a capture failed, and is made without these");
          for (const variable of capture.working) {
            this.#skip[variable] = "its capture took too long, or ended the process";
          }
        } finally {
          unwatch();
          capture.drop();
        }
      } finally {
        await captures.discard(incoming);
        this.#notBefore = performance.now() + SHARE * (performance.now() - began);
      }
    }
  }

  /** Ends a capture that takes too long, in all or over the same variables. */
  #watch(capture: Capture, began: number): () => void {
    const timer = setInterval(() => {
      const now = performance.now();
      if (now - began > LIMITS.captureMs || now - capture.workingSince > LIMITS.captureStepMs) capture.drop();
    }, LOOK_MS).unref();
    return () => clearInterval(timer);
  }
}
