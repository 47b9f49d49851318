/**
 * The daemon's program: `main.ts --home FOLDER [--http 127.0.0.1:PORT] [--ready-fd N]`.
 * With --ready-fd it writes one JSON line there when it serves ({"ready":true,"pid":…}) or cannot ({"error":…}).
 * Exit status: 0 after an orderly stop, 4 when it could not start.
 */
import { closeSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { ERRORS, ExecuteCodeError } from "../contract/errors.ts";
import { homeFolder } from "../contract/location.ts";
import { Interpreters } from "../execution/index.ts";
import { createLogger } from "../platform/logger.ts";
import { pathsOf } from "../platform/paths.ts";
import type { Daemon } from "./daemon.ts";
import { prepareHome } from "./home.ts";
import { parseLoopback } from "./http/loopback.ts";

/** What running executions get when a signal stops the daemon. */
const SIGNAL_DRAIN_MS = 2_000;

export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { home: { type: "string" }, http: { type: "string" }, "ready-fd": { type: "string" } },
  });
  const paths = pathsOf(values.home ?? homeFolder());
  const readyFd = values["ready-fd"] === undefined ? null : Number(values["ready-fd"]);
  const report = (line: object): void => {
    if (readyFd === null) return;
    writeSync(readyFd, `${JSON.stringify(line)}\n`);
    closeSync(readyFd);
  };
  // Behind the shims of a version manager this takes as long as loading the rest of the daemon: both go on together.
  const interpreters = new Interpreters(process.env);
  interpreters.find().catch(() => {});
  const loading = import("./daemon.ts");
  let daemon: Daemon;
  try {
    const loopback = values.http === undefined ? null : parseLoopback(values.http);
    prepareHome(paths);
    // In the foreground the log goes to the terminal, in the background to the home's log folder.
    const log = createLogger(readyFd === null ? { descriptor: 2 } : { folder: paths.logs });
    daemon = await (await loading).Daemon.start(paths, interpreters, loopback, log);
    process.on("uncaughtException", (error) => {
      log.fatal({ err: error }, "uncaught");
      process.exit(ERRORS.internal.exit);
    });
  } catch (error) {
    const known =
      error instanceof ExecuteCodeError
        ? error
        : new ExecuteCodeError("daemon_start_failed", {
            message: `The daemon did not start: ${String(error)}`,
            cause: error,
          });
    report({ error: known.toBody() });
    if (readyFd === null) process.stderr.write(`${known.message}\n${known.remedy}\n`);
    return ERRORS[known.code].exit;
  }
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => void daemon.stop(SIGNAL_DRAIN_MS));
  // The terminal that started it may go; the daemon stays.
  process.on("SIGHUP", () => {});
  report({ ready: true, pid: process.pid });
  await daemon.stopped;
  return 0;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
