/** FIFOs of a box. To make them takes longer than a fork: some are kept ready. */
import type { FifoMaker } from "./fifo-maker.ts";

/** Those of eight kernels. */
const SPARE = 24;
/** A long list takes a shell long. */
const AT_ONCE = 32;
/** Between a use of them and the making of others, which is not to hold up what they were taken for. */
const REFILL_MS = 20;

export class FifoPool {
  readonly #folder: string;
  readonly #maker: FifoMaker;
  readonly #giveAway: (...files: string[]) => Promise<void>;
  #spare: string[] = [];
  #made = 0;
  #making: Promise<void> | null = null;
  #refill: NodeJS.Timeout | null = null;

  /** In this folder; `giveAway` lets the processes of the box use them. */
  constructor(folder: string, maker: FifoMaker, giveAway: (...files: string[]) => Promise<void>) {
    this.#folder = folder;
    this.#maker = maker;
    this.#giveAway = giveAway;
  }

  /** Paths of FIFOs that nobody else uses; others are made ready for the next time. */
  async take(count: number): Promise<string[]> {
    if (this.#spare.length < count) await this.#making;
    if (this.#spare.length < count) {
      // The spare ones in the same go.
      this.#spare.push(...(await this.#make(count - this.#spare.length + SPARE)));
    }
    const taken = this.#spare.splice(0, count);
    this.#refillLater();
    return taken;
  }

  /** Makes no more. */
  close(): void {
    if (this.#refill !== null) clearTimeout(this.#refill);
  }

  #refillLater(): void {
    if (this.#refill !== null || this.#making !== null || this.#spare.length > SPARE / 2) return;
    this.#refill = setTimeout(() => {
      this.#refill = null;
      this.#making = this.#make(SPARE - this.#spare.length)
        .then((made) => void this.#spare.push(...made))
        // Whoever needs them then makes them, and learns what is wrong.
        .catch(() => {})
        .finally(() => {
          this.#making = null;
        });
    }, REFILL_MS).unref();
  }

  async #make(count: number): Promise<string[]> {
    const made: Array<Promise<string[]>> = [];
    for (let left = count; left > 0; left -= AT_ONCE) {
      const first = this.#made + 1;
      this.#made += Math.min(left, AT_ONCE);
      made.push(this.#maker.make(this.#folder, first, this.#made));
    }
    const files = (await Promise.all(made)).flat();
    await this.#giveAway(...files);
    return files;
  }
}
