/** Structured logs: one JSON object a line, into EXECUTE_CODE_HOME/logs, or to stderr in the foreground. */
import { mkdirSync, openSync, renameSync, statSync, writeSync } from "node:fs";
import path from "node:path";
import { type DestinationStream, type Logger, pino } from "pino";

export type { Logger } from "pino";

/** A log file longer than this is set aside when the daemon starts; one earlier file is kept. */
const ROTATE_BYTES = 16 * 1024 * 1024;

/** EXECUTE_CODE_LOG names the level: trace, debug, info (default), warn, error, silent. */
export function createLogger(target: { folder: string } | { descriptor: number }): Logger {
  const level = process.env.EXECUTE_CODE_LOG ?? "info";
  const options = { level: level in pino.levels.values || level === "silent" ? level : "info", base: null };
  if ("descriptor" in target) return pino(options, new Output(target.descriptor));
  mkdirSync(target.folder, { recursive: true, mode: 0o700 });
  const file = path.join(target.folder, "daemon.log");
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > ROTATE_BYTES) renameSync(file, `${file}.1`);
  return pino(options, new Output(openSync(file, "a", 0o600)));
}

/**
 * What takes no line, such as a full disk, loses it: callers are told what failed, and the daemon lives on. Pino's own
 * destination waits at the end of the process until the last line is taken, for ever.
 */
class Output implements DestinationStream {
  readonly #descriptor: number;
  /** The last line was not written whole. */
  #torn = false;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  write(line: string): void {
    const bytes = Buffer.from(this.#torn ? `\n${line}` : line);
    try {
      this.#torn = writeSync(this.#descriptor, bytes) < bytes.length;
    } catch {
      // Nothing of it was written.
    }
  }
}
