/**
 * A shell that waits beside this process and starts programs for it, one after the other. To start a program itself costs
 * a process with much memory ten milliseconds in which it does nothing else; the shell has hardly any.
 *
 * States: resting (no shell; the first program starts one) ⇄ working → closed. The shell ends with its input.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

/** What is run is answered by one line: the exit status, and the first line that was said. */
const FUNCTIONS = `
end='
'
answer() { printf '%s %s\\n' "$1" "\${2%%"$end"*}"; }
tell() { said=$("$@" </dev/null 2>&1); answer $? "$said"; }
drop() { said=$("$@" </dev/null 2>/dev/null); answer $? "$said"; }
`;

/** The first line that a program has said, without the line's end, and its exit status. */
export interface Said {
  readonly line: string;
  readonly status: number;
}

interface Running {
  readonly process: ChildProcessByStdio<Writable, Readable, null>;
  /** Who waits for an answer, in the order of asking. */
  readonly waiting: Array<PromiseWithResolvers<Said>>;
}

export class Shell {
  #running: Running | null = null;
  #closed = false;

  /**
   * Runs a program without input, after those that were asked for before. `errors`: whether what it says on stderr counts.
   * Throws where the shell cannot be started, or ended; what becomes of the program is no failure.
   */
  async run(command: readonly string[], errors: "tell" | "drop"): Promise<Said> {
    if (this.#closed) throw new Error("The shell is closed.");
    this.#running ??= this.#start();
    const { process: shell, waiting } = this.#running;
    const answered = Promise.withResolvers<Said>();
    waiting.push(answered);
    shell.stdin.write(`${errors} ${command.map(quoted).join(" ")}\n`);
    return answered.promise;
  }

  #start(): Running {
    // In a process group of its own: what interrupts a daemon on a terminal is not meant for it.
    const shell = spawn("sh", ["-s"], {
      cwd: "/",
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
    });
    if (shell.pid === undefined) {
      shell.once("error", () => {}); // It comes too late to be told.
      throw new Error("A shell cannot be started: there is no process or no descriptor left.");
    }
    const running: Running = { process: shell, waiting: [] };
    const end = (error: Error): void => {
      if (this.#running === running) this.#running = null;
      for (const { reject } of running.waiting.splice(0)) reject(error);
    };
    shell.on("error", end);
    shell.once("exit", () => end(new Error("The shell that starts programs ended.")));
    shell.stdin.on("error", end);
    createInterface({ input: shell.stdout }).on("line", (answer) => {
      const [status] = answer.split(" ", 1);
      running.waiting.shift()?.resolve({ status: Number(status), line: answer.slice(status!.length + 1) });
    });
    shell.unref();
    for (const stream of [shell.stdin, shell.stdout] as unknown as Socket[]) stream.unref();
    shell.stdin.write(FUNCTIONS);
    return running;
  }

  /** Ends the shell, and the program that it runs. */
  close(): void {
    this.#closed = true;
    const running = this.#running;
    if (running === null) return;
    running.process.stdin.end();
    if (running.waiting.length > 0 && running.process.pid !== undefined) endGroup(running.process.pid);
  }
}

function endGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGTERM");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** As one word of a shell's. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
