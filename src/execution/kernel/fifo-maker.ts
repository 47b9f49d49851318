/**
 * Makes FIFOs, which Node.js cannot. A shell that waits beside the daemon starts the program for it: to start one itself
 * costs the daemon, whose memory is large, ten milliseconds in which it does nothing else.
 *
 * States: resting (no shell; the first request starts one) ⇄ working → closed. The shell ends with its input.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Socket } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

/** One line a request, `FIRST LAST FOLDER`; one line an answer, empty or what is wrong. */
const SCRIPT = `
while IFS=' ' read -r first last folder; do
  set --
  while [ "$first" -le "$last" ]; do
    set -- "$@" "$folder/f$first"
    first=$((first + 1))
  done
  said=$(mkfifo -m 600 -- "$@" 2>&1) && echo || echo $said "(mkfifo failed)"
done`;

type Shell = ChildProcessByStdio<Writable, Readable, null>;

/** The shell, and who waits for its answers, in the order of asking. */
interface Helper {
  readonly shell: Shell;
  readonly waiting: Array<PromiseWithResolvers<void>>;
}

export class FifoMaker {
  #helper: Helper | null = null;
  #closed = false;

  /** Makes `f<first>` to `f<last>` in a folder; their paths. Throws what mkfifo says. */
  async make(folder: string, first: number, last: number): Promise<string[]> {
    if (this.#closed) throw new Error("No more FIFOs are made: the daemon stops.");
    if (folder.includes("\n"))
      throw new Error(`FIFOs cannot be made in ${JSON.stringify(folder)}: a line break`);
    this.#helper ??= this.#start();
    const { shell, waiting } = this.#helper;
    const made = Promise.withResolvers<void>();
    waiting.push(made);
    shell.stdin.write(`${first} ${last} ${folder}\n`);
    await made.promise;
    return Array.from({ length: last - first + 1 }, (_, index) => path.join(folder, `f${first + index}`));
  }

  /** Throws where no process or no descriptor is to be had. */
  #start(): Helper {
    // In a process group of its own: what interrupts a daemon on a terminal is not meant for it.
    const shell = spawn("sh", ["-c", SCRIPT], {
      cwd: "/",
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
    });
    if (shell.pid === undefined) {
      shell.once("error", () => {}); // It comes too late to be told.
      throw new Error(
        "The shell that makes FIFOs cannot be started: there is no process or descriptor left.",
      );
    }
    const helper: Helper = { shell, waiting: [] };
    const end = (error: Error): void => {
      if (this.#helper === helper) this.#helper = null;
      for (const { reject } of helper.waiting.splice(0)) reject(error);
    };
    shell.on("error", end);
    shell.once("exit", () => end(new Error("The shell that makes FIFOs ended.")));
    shell.stdin.on("error", end);
    createInterface({ input: shell.stdout }).on("line", (said) => {
      const made = helper.waiting.shift();
      if (said === "") made?.resolve();
      else made?.reject(new Error(said));
    });
    shell.unref();
    for (const stream of [shell.stdin, shell.stdout] as unknown as Socket[]) stream.unref();
    return helper;
  }

  /** Ends the shell. */
  close(): void {
    this.#closed = true;
    this.#helper?.shell.stdin.end();
  }
}
