/**
 * The terminal of the REPL: keys in, one after another, and rows out that are drawn again in place.
 *
 * Standard input is in raw mode from `open` to `close`: Ctrl-C is a key. Keys that nobody waits for are kept; `onKey`
 * sees each one first.
 */
import { emitKeypressEvents } from "node:readline";

export interface Key {
  /** `return`, `left`, `a`, …; of a character that has no name: undefined. */
  readonly name?: string | undefined;
  readonly ctrl: boolean;
  readonly meta: boolean;
  readonly shift: boolean;
  /** The text that it stands for; of a paste all of it. */
  readonly text: string;
}

/** Pastes come between marks, so that their lines are no keys. */
const PASTE_ON = "\u001b[?2004h";
const PASTE_OFF = "\u001b[?2004l";

export class Terminal {
  #keys: Key[] = [];
  #waiting: ((key: Key | null) => void) | null = null;
  #paste: string | null = null;
  #gone = false;
  #open = false;
  /** Sees each key first; true when nobody else is to get it. */
  onKey: ((key: Key) => boolean) | null = null;
  /** Told when the terminal has another size. */
  onResize: (() => void) | null = null;

  constructor() {
    const { stdin, stdout } = process;
    emitKeypressEvents(stdin);
    stdin.on("keypress", (text: string | undefined, key: Partial<Key> & { sequence?: string }) =>
      this.#take(text, key),
    );
    for (const event of ["end", "close", "error"]) stdin.on(event, () => this.#leave());
    stdout.on("resize", () => this.onResize?.());
  }

  get columns(): number {
    return Math.max(process.stdout.columns || 80, 20);
  }

  get rows(): number {
    return Math.max(process.stdout.rows || 24, 5);
  }

  /** Keys that wait. */
  get pending(): number {
    return this.#keys.length;
  }

  open(): void {
    if (this.#open || this.#gone) return;
    this.#open = true;
    process.stdin.setRawMode(true);
    process.stdin.resume();
    process.stdout.write(PASTE_ON);
  }

  /** Gives the terminal back as it was. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    process.stdout.write(PASTE_OFF);
    if (!process.stdin.destroyed) {
      process.stdin.setRawMode(false);
      process.stdin.pause();
    }
  }

  /** Stops this process and those of its job, until the shell lets them go on. */
  async suspend(): Promise<void> {
    this.close();
    const goesOn = new Promise((resolve) => process.once("SIGCONT", resolve));
    // Without standard input nothing else may keep the process.
    const kept = setInterval(() => {}, 60_000);
    process.kill(0, "SIGTSTP");
    await goesOn;
    clearInterval(kept);
    this.open();
  }

  /** The next key; null when the terminal is gone, or the signal is aborted. */
  next(signal?: AbortSignal): Promise<Key | null> {
    const key = this.#keys.shift();
    if (key !== undefined) return Promise.resolve(key);
    if (this.#gone || signal?.aborted) return Promise.resolve(null);
    return new Promise((resolve) => {
      const abort = (): void => this.#waiting?.(null);
      this.#waiting = (next) => {
        this.#waiting = null;
        signal?.removeEventListener("abort", abort);
        resolve(next);
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** As if it had been pressed. */
  press(key: Key): void {
    if (this.onKey?.(key)) return;
    if (this.#waiting === null) this.#keys.push(key);
    else this.#waiting(key);
  }

  #take(text: string | undefined, key: Partial<Key> & { sequence?: string }): void {
    const { name, ctrl = false, meta = false, shift = false, sequence = "" } = key;
    if (name === "paste-start") this.#paste = "";
    else if (name === "paste-end") {
      this.press({ name: "paste", ctrl: false, meta: false, shift: false, text: this.#paste ?? "" });
      this.#paste = null;
    } else if (this.#paste !== null) this.#paste += text ?? sequence;
    else this.press({ name, ctrl, meta, shift, text: text ?? "" });
  }

  #leave(): void {
    this.#gone = true;
    this.#waiting?.(null);
  }
}

export const CTRL_C: Key = { name: "c", ctrl: true, meta: false, shift: false, text: "" };

/** Whether a key is Ctrl and this letter. */
export function isCtrl(key: Key, letter: string): boolean {
  return key.ctrl && !key.meta && key.name === letter;
}
