/** Structured logs: one JSON object a line, into EXECUTE_CODE_HOME/logs, or to stderr in the foreground. */
import { mkdirSync, renameSync, statSync } from "node:fs";
import path from "node:path";
import { type DestinationStream, destination, type Logger, pino } from "pino";

export type { Logger } from "pino";

/** A log file longer than this is set aside when the daemon starts; one earlier file is kept. */
const ROTATE_BYTES = 16 * 1024 * 1024;

/** EXECUTE_CODE_LOG names the level: trace, debug, info (default), warn, error, silent. */
export function createLogger(target: { folder: string } | { stream: DestinationStream }): Logger {
  const level = process.env.EXECUTE_CODE_LOG ?? "info";
  const options = { level: level in pino.levels.values || level === "silent" ? level : "info", base: null };
  if ("stream" in target) return pino(options, target.stream);
  mkdirSync(target.folder, { recursive: true, mode: 0o700 });
  const file = path.join(target.folder, "daemon.log");
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > ROTATE_BYTES) renameSync(file, `${file}.1`);
  const output = destination({ dest: file, sync: true, mode: 0o600 });
  // A full disk takes no log lines either. The callers are told what failed; the daemon lives on.
  output.on("error", () => {});
  return pino(options, output);
}
