/**
 * Answers to the questions of session code, from this program's standard input: a person at a terminal, or lines of a
 * pipe or a file. Standard input that ends before its first line answers nothing: another client may.
 */
import { createInterface, type Interface } from "node:readline";
import { LIMITS } from "../contract/limits.ts";
import type { InputRequest } from "../contract/records.ts";
import { type Client, ExecuteCodeError } from "../sdk/index.ts";
import { tellQuestion } from "./show.ts";

export class Answers {
  readonly #client: Client;
  /** False when standard input held the code. */
  readonly #usable: boolean;
  #lines: AsyncIterator<string> | null = null;
  #reader: Interface | null = null;
  #answered = false;

  constructor(client: Client, usable: boolean) {
    this.#client = client;
    this.#usable = usable;
  }

  /** How long the code's questions wait, milliseconds: a terminal's user takes the time it takes. Else undefined. */
  get timeoutMs(): number | undefined {
    return this.#usable && process.stdin.isTTY ? LIMITS.longestMs : undefined;
  }

  /** Answers the question of an execution; or says how somebody else can, and gives false. */
  async answer(id: string, question: InputRequest): Promise<boolean> {
    const line = this.#usable ? await this.#next(question.password) : null;
    if (line === null && !this.#answered) {
      tellQuestion(id);
      return false;
    }
    this.#answered = true;
    try {
      await this.#client.input(id, line);
    } catch (error) {
      // It was answered elsewhere, or its time was over.
      if (!(error instanceof ExecuteCodeError) || error.code !== "no_input_requested") throw error;
    }
    return true;
  }

  async #next(secret: boolean): Promise<string | null> {
    if (secret && process.stdin.isTTY && this.#reader === null) return readSecret();
    if (this.#lines === null) {
      this.#reader = createInterface({ input: process.stdin, terminal: false });
      this.#lines = this.#reader[Symbol.asyncIterator]();
    }
    const next = await this.#lines.next();
    return next.done === true ? null : next.value;
  }

  /** Gives standard input back, so that the program can end. */
  close(): void {
    this.#reader?.close();
    process.stdin.destroy();
  }
}

/** A line of a terminal that does not show it. */
function readSecret(): Promise<string | null> {
  const { stdin, stderr } = process;
  return new Promise((resolve) => {
    let line = "";
    const finish = (answer: string | null): void => {
      stdin.off("data", take);
      stdin.setRawMode(false);
      stdin.pause();
      stderr.write("\n");
      resolve(answer);
    };
    const take = (chunk: Buffer): void => {
      for (const character of chunk.toString("utf8")) {
        if (character === "\r" || character === "\n") {
          finish(line);
          return;
        }
        if (character === "\u0004") {
          finish(line === "" ? null : line);
          return;
        }
        if (character === "\u0003") process.kill(process.pid, "SIGINT");
        else if (character === "\u007f" || character === "\b") line = Array.from(line).slice(0, -1).join("");
        else line += character;
      }
    };
    stdin.setRawMode(true);
    stdin.on("data", take);
    stdin.resume();
  });
}
