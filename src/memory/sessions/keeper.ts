/**
 * Keeps one session's variables on the disk: when it has been idle for a moment, and something has changed since the
 * last time. A capture that hangs is ended, and made again without the variables that it hung on.
 */
import { LIMITS } from "../../contract/limits.ts";
import type { CaptureManifest } from "../../contract/time-travel.ts";
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
    return withoutStuck(this.#skip, log, async (whole) => {
      const incoming = captures.incoming();
      const began = performance.now();
      try {
        const { capture, moment, state } = await this.#options.begin(incoming, { skip: this.#skip });
        const kept = await captures.keep(moment, name, await whole(capture), incoming);
        this.#captured = state;
        return kept;
      } finally {
        await captures.discard(incoming);
        this.#notBefore = performance.now() + SHARE * (performance.now() - began);
      }
    });
  }
}

/**
 * Makes a capture, by `attempt`, which gives what it has begun to `whole` for its manifest. One that hangs or fails is
 * made anew without the variables that it was at work on: `skip` has them from then on, with the reason. Throws what the
 * last attempt threw, and storage errors at once.
 */
export async function withoutStuck<T>(
  skip: Record<string, string>,
  log: Logger,
  attempt: (whole: (capture: Capture) => Promise<CaptureManifest>) => Promise<T>,
): Promise<T> {
  for (let number = 1; ; number++) {
    const captures: Capture[] = [];
    const began = performance.now();
    try {
      return await attempt(async (capture) => {
        captures.push(capture);
        const unwatch = watch(capture, began);
        try {
          return await capture.manifest;
        } finally {
          unwatch();
          capture.drop();
        }
      });
    } catch (error) {
      const variables = captures.flatMap(({ working }) => working);
      // What the disk refuses is no variable's fault.
      if (number === ATTEMPTS || variables.length === 0 || isStorageError(error)) throw error;
      log.warn({ err: error, variables }, "a capture failed, and is made without these");
      for (const variable of variables) skip[variable] = "its capture took too long, or ended the process";
    }
  }
}

/** Ends a capture that takes too long, in all or over the same variables. */
function watch(capture: Capture, began: number): () => void {
  const timer = setInterval(() => {
    const now = performance.now();
    if (now - began > LIMITS.captureMs || now - capture.workingSince > LIMITS.captureStepMs) capture.drop();
  }, LOOK_MS).unref();
  return () => clearInterval(timer);
}
