/** Runs the command line as a user does, as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";

const PROGRAM = path.resolve("bin/execute-code.js");

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;
  /** Resolves when stdout holds the text. */
  printed(text: string): Promise<void>;
}

export function start(
  home: string,
  args: readonly string[],
  options: { input?: string | Buffer; env?: NodeJS.ProcessEnv } = {},
): Running {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: { ...process.env, EXECUTE_CODE_HOME: home, ...options.env },
  });
  let stdout = "";
  let stderr = "";
  const waiting: Array<{ text: string; resolve: () => void }> = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    for (const one of waiting) if (stdout.includes(one.text)) one.resolve();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  return {
    child,
    outcome: new Promise((resolve) => {
      child.on("close", (status) => resolve({ status, stdout, stderr }));
    }),
    printed: (text) =>
      new Promise((resolve) => {
        if (stdout.includes(text)) resolve();
        else waiting.push({ text, resolve });
      }),
  };
}

export async function execute(
  home: string,
  args: readonly string[],
  options: { input?: string | Buffer; env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  return await start(home, args, options).outcome;
}
