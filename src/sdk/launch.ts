/**
 * Reaching the daemon of a home, starting it when none runs.
 *
 * A started daemon tells its fate in one JSON line on descriptor 3: {"ready":true,"pid":…} or {"error":…}.
 * Of several clients that start one at the same time, one daemon wins the home; the others say `home_in_use`, and
 * their clients connect to the winner.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ErrorBody, ExecuteCodeError } from "../contract/errors.ts";
import { cacheFolder } from "../contract/location.ts";
import { ConnectionError, type Transport } from "./transport.ts";

/** After losing a race for the home: how long to wait for the winner before trying again. */
const WINNER_MS = 1_000;

/** The socket's queue of connections is full: how long to wait before the next attempt. */
const BACKLOG_MS = 20;

export interface LaunchOptions {
  readonly home: string;
  /** Whether to start a daemon when none runs. */
  readonly start: boolean;
  /** Where a started daemon serves HTTP, too: `127.0.0.1:PORT`. */
  readonly http?: string | undefined;
  /** The environment that a started daemon gets. */
  readonly env: NodeJS.ProcessEnv;
}

/** Null: it is ready. */
type StartReport = ErrorBody | null;

/**
 * Resolves when a daemon answers on the transport's socket. Fails with daemon_unreachable when none runs and none is
 * to be started, else with the error that the starting daemon reported.
 */
export async function reachDaemon(
  transport: Transport,
  options: LaunchOptions,
  withinMs: number,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const failure = await probe(transport, deadline);
    if (failure === null) return;
    if (PASSING.has(failure.code) && performance.now() < deadline) {
      await sleep(BACKLOG_MS);
      continue;
    }
    if (!options.start || !NOBODY_LISTENS.has(failure.code)) throw unreachable(transport, failure);
    const report = await startDaemon(options, deadline);
    if (report === null) continue;
    const error = ExecuteCodeError.fromBody(report);
    if (error.code !== "home_in_use") throw error;
    const winnerAnswers = await pollUntilAnswered(
      transport,
      Math.min(deadline, performance.now() + WINNER_MS),
    );
    if (winnerAnswers) return;
    if (performance.now() >= deadline) throw error;
  }
}

/** Too many ask at once; or the daemon that was there is just ending. */
const PASSING = new Set(["EAGAIN", "ECONNRESET", "EPIPE"]);
const NOBODY_LISTENS = new Set(["ENOENT", "ECONNREFUSED", "ENOTDIR"]);

function unreachable(transport: Transport, failure: ConnectionError): ExecuteCodeError {
  return new ExecuteCodeError("daemon_unreachable", {
    ...(NOBODY_LISTENS.has(failure.code) ? { message: "No daemon is running." } : {}),
    details: { socket: transport.socketPath, reason: failure.message },
    cause: failure,
  });
}

/** Null when a daemon answers. */
async function probe(transport: Transport, deadline: number): Promise<ConnectionError | null> {
  const remaining = Math.max(1, Math.ceil(deadline - performance.now()));
  try {
    await transport.request({
      method: "GET",
      path: "/v1/health",
      signal: AbortSignal.timeout(remaining),
    });
    return null;
  } catch (error) {
    if (error instanceof ConnectionError) return error;
    throw error;
  }
}

async function pollUntilAnswered(transport: Transport, until: number): Promise<boolean> {
  for (let pause = 5; ; pause = Math.min(pause * 2, 100)) {
    if ((await probe(transport, until)) === null) return true;
    if (performance.now() + pause >= until) return false;
    await sleep(pause);
  }
}

/** The daemon's garbage is short-lived and little: a small nursery keeps its memory small, too. */
const SMALL_HEAP = "--max-semi-space-size=2";

/** Of glibc's heap for each thread, the parts that are free but not given back add up. */
const FEW_ARENAS = { MALLOC_ARENA_MAX: "2" };

/** The daemon's program: beside this file's folder, from source or built. */
export function daemonProgram(): string {
  const source = fileURLToPath(new URL("../daemon/main.ts", import.meta.url));
  return existsSync(source) ? source : fileURLToPath(new URL("../daemon/main.js", import.meta.url));
}

function spawnDaemon(options: LaunchOptions): ChildProcess {
  try {
    const http = options.http === undefined ? [] : ["--http", options.http];
    const args = [SMALL_HEAP, daemonProgram(), "--home", options.home, ...http, "--ready-fd", "3"];
    return spawn(process.execPath, args, {
      cwd: "/",
      env: { ...options.env, ...FEW_ARENAS, NODE_COMPILE_CACHE: path.join(cacheFolder(options.env), "node") },
      detached: true,
      stdio: ["ignore", "ignore", "ignore", "pipe"],
    });
  } catch (cause) {
    throw new ExecuteCodeError("daemon_start_failed", {
      message: `The daemon's process could not be started: ${String(cause)}`,
      cause,
    });
  }
}

/** Starts a daemon that outlives this process, and resolves with what it reports. */
async function startDaemon(options: LaunchOptions, deadline: number): Promise<StartReport> {
  const child = spawnDaemon(options);
  const pipe = child.stdio[3] as Readable;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<StartReport>((resolve, reject) => {
      const fail = (message: string, details: Record<string, string | number | null>, cause?: unknown) =>
        reject(new ExecuteCodeError("daemon_start_failed", { message, details, cause }));
      let text = "";
      pipe.setEncoding("utf8");
      pipe.on("data", (chunk: string) => {
        text += chunk;
        const end = text.indexOf("\n");
        if (end < 0) return;
        const report = startReport(text.slice(0, end));
        if (report === undefined) fail("The daemon's start report does not have the expected form.", {});
        else resolve(report);
      });
      pipe.on("error", () => {});
      child.on("error", (cause) =>
        fail(`The daemon's process could not be started: ${cause.message}`, {}, cause),
      );
      child.on("close", (code, signal) =>
        fail(
          signal === null
            ? `The daemon ended with exit status ${code} while it started.`
            : `The daemon was ended by ${signal} while it started.`,
          { exit_code: code, signal },
        ),
      );
      timer = setTimeout(
        () => {
          child.kill("SIGKILL");
          fail(`The daemon did not report in time.`, {});
        },
        Math.max(1, deadline - performance.now()),
      );
    });
  } finally {
    clearTimeout(timer);
    pipe.destroy();
    child.unref();
  }
}

/** Undefined when the line is no start report. */
function startReport(line: string): StartReport | undefined {
  try {
    const report = JSON.parse(line) as { ready?: unknown; error?: unknown };
    return report.ready === true ? null : ErrorBody.parse(report.error);
  } catch {
    return undefined;
  }
}
