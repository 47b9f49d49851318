/**
 * What was typed into REPLs, of all sessions of a home: a file of JSON strings, a line each, for its user alone. REPLs
 * at the same time append to it; each one knows what was there when it began, and its own.
 */
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import path from "node:path";

const KEPT = 2_000;
const LONGEST = 64 * 1024;
/** Beyond this the file is written anew with the newest entries. */
const FILE_BYTES = 4 * 1024 * 1024;

export class History {
  /** Oldest first. */
  readonly entries: string[] = [];
  readonly #file: string;
  #fd: number | null = null;

  constructor(home: string) {
    this.#file = path.join(home, "repl-history");
  }

  /** Reads what there is. Throws what the file system says. */
  open(): void {
    mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o700 });
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
    this.#fd = openSync(this.#file, flags, 0o600);
    chmodSync(this.#file, 0o600);
    const content = readFileSync(this.#file);
    for (const line of content.toString("utf8").split("\n")) {
      const entry = entryOf(line);
      if (entry !== null && entry !== this.entries.at(-1)) this.entries.push(entry);
    }
    this.entries.splice(0, this.entries.length - KEPT);
    if (content.length > FILE_BYTES) this.#shorten();
  }

  add(entry: string): void {
    if (entry === this.entries.at(-1) || entry.length > LONGEST) return;
    this.entries.push(entry);
    if (this.#fd !== null) writeSync(this.#fd, `${JSON.stringify(entry)}\n`);
  }

  #shorten(): void {
    const next = `${this.#file}.${process.pid}`;
    writeFileSync(next, this.entries.map((entry) => `${JSON.stringify(entry)}\n`).join(""), { mode: 0o600 });
    renameSync(next, this.#file);
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = openSync(this.#file, constants.O_WRONLY | constants.O_APPEND);
  }
}

/** Null for a line that a crash or somebody else has left. */
function entryOf(line: string): string | null {
  if (line === "") return null;
  try {
    const entry: unknown = JSON.parse(line);
    return typeof entry === "string" ? entry : null;
  } catch {
    return null;
  }
}
