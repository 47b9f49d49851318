/** FIFOs of a box. To make them takes longer than a fork: some are kept ready. */
import path from "node:path";
import type { Shell } from "../../platform/shell.ts";

/** Those of eight kernels. */
const SPARE = 24;
/** Between a use of them and the making of others, which is not to hold up what they were taken for. */
const REFILL_MS = 20;

export class FifoPool {
  readonly #folder: string;
  readonly #shell: Shell;
  readonly #giveAway: (...files: string[]) => Promise<void>;
  #spare: string[] = [];
  #made = 0;
  #making: Promise<void> | null = null;
  #refill: NodeJS.Timeout | null = null;

  /** In this folder; `giveAway` lets the processes of the box use them. */
  constructor(folder: string, shell: Shell, giveAway: (...files: string[]) => Promise<void>) {
    this.#folder = folder;
    this.#shell = shell;
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
    const files = Array.from({ length: count }, () => path.join(this.#folder, `f${++this.#made}`));
    const { status, line } = await this.#shell.run(["mkfifo", "-m", "600", "--", ...files], "tell");
    if (status !== 0) throw new Error(`FIFOs cannot be made: ${line}`);
    await this.#giveAway(...files);
    return files;
  }
}
