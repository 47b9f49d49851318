/**
 * Executions go before captures: while one that has just begun is under way, the worker that stores the contents of
 * captures takes up nothing new. What both need is a processor, and the disk, which makes one sync wait for another.
 *
 * The main thread says what goes on in memory that it shares with the worker.
 */

/** Places in the shared memory: how many executions are under way; when the last one began, milliseconds. */
const UNDER_WAY = 0;
const BEGAN = 1;
const BYTES = 8;
/** One that takes longer than this is waited for no more. */
const PATIENCE_MS = 10;

/** Of a clock that both threads have; wraps around. */
const now = (): number => Date.now() | 0;

/** The main thread's side. */
export class RightOfWay {
  readonly shared = new SharedArrayBuffer(BYTES);
  readonly #state = new Int32Array(this.shared);

  /** An execution begins, and is over when the returned function is called. */
  claim(): () => void {
    Atomics.store(this.#state, BEGAN, now());
    Atomics.add(this.#state, UNDER_WAY, 1);
    return () => {
      if (Atomics.sub(this.#state, UNDER_WAY, 1) === 1) Atomics.notify(this.#state, UNDER_WAY);
    };
  }
}

/** The worker's side, for one piece of work: it waits for others at most as long as it works itself. */
export class Yielding {
  readonly #state: Int32Array;
  readonly #began = performance.now();
  #waited = 0;

  constructor(shared: SharedArrayBuffer) {
    this.#state = new Int32Array(shared);
  }

  /** Resolves when it may go on. */
  async turn(): Promise<void> {
    for (;;) {
      const underWay = Atomics.load(this.#state, UNDER_WAY);
      const left = PATIENCE_MS - ((now() - Atomics.load(this.#state, BEGAN)) | 0);
      if (underWay === 0 || left <= 0) return;
      const start = performance.now();
      if (this.#waited > (start - this.#began) / 2) return;
      const waiting = Atomics.waitAsync(this.#state, UNDER_WAY, underWay, left);
      if (waiting.async) await waiting.value;
      this.#waited += performance.now() - start;
    }
  }
}
