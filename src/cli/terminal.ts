/** What commands write: results to stdout, everything else to stderr. */
import { stripVTControlCharacters, styleText } from "node:util";
import { ERRORS, type ErrorBody, ExecuteCodeError } from "../contract/errors.ts";

let readerGone = false;

/**
 * A reader of stdout that goes away (`| head`) is no failure: what is still written is dropped. A command may take
 * it as the wish to end.
 */
export function survivePipes(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") {
      process.stderr.write(`execute-code: stdout cannot be written: ${error.message}\n`);
      process.exit(4);
    }
    readerGone = true;
  });
  process.stderr.on("error", () => {});
}

/** Calls back when stdout's reader goes away. */
export function onReaderGone(callback: () => void): void {
  process.stdout.on("error", callback);
}

/** Writes text to stdout as it is; resolves when more may be written. */
export async function write(text: string): Promise<void> {
  if (readerGone || text === "") return;
  if (!process.stdout.write(text)) await writable();
}

function writable(): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      process.stdout.off("drain", done).off("error", done);
      resolve();
    };
    process.stdout.on("drain", done).on("error", done);
  });
}

export async function writeLine(text: string): Promise<void> {
  await write(`${text}\n`);
}

export async function writeJson(value: unknown): Promise<void> {
  await write(`${JSON.stringify(value)}\n`);
}

/** A line on stderr. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** A line on stderr that only a person at a terminal sees. */
export function aside(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${styleText("dim", text, { stream: process.stderr })}\n`);
}

/** Columns for stdout, as wide as their content. */
export async function writeTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  /** Characters of the last column. */
  last = 80,
): Promise<void> {
  const length = (column: number): number => (column === head.length - 1 ? last : 80);
  const printable = rows.map((row) => row.map((cell, column) => oneLine(cell, length(column))));
  const widths = head.map((name, column) =>
    Math.max(displayWidth(name), ...printable.map((row) => displayWidth(row[column] ?? ""))),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - displayWidth(cell)))
      .join("  ")
      .trimEnd();
  await writeLine(styleText("bold", line(head), { stream: process.stdout }));
  for (const row of printable) await writeLine(line(row));
}

/** `name: value` lines for stdout; a value of null is left out. */
export async function writeFacts(facts: Readonly<Record<string, string | number | null>>): Promise<void> {
  const shown = Object.entries(facts).filter(([, value]) => value !== null);
  const width = Math.max(...shown.map(([name]) => name.length));
  for (const [name, value] of shown) await writeLine(`${name.padEnd(width)}  ${value}`);
}

/** Text of others on one line of a terminal: control characters become spaces. */
export function oneLine(text: string, length = 80): string {
  const flat = stripVTControlCharacters(text)
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim();
  return flat.length <= length ? flat : `${flat.slice(0, length - 1).toWellFormed()}…`;
}

/** Terminal columns: East Asian wide characters and emoji take two. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{Mn}|\p{Cf}/u.test(character)) continue;
    width +=
      /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u.test(
        character,
      )
        ? 2
        : 1;
  }
  return width;
}

/**
 * Says what went wrong, on stderr for people and with `json` also on stdout for programs, and answers the exit
 * status. `printed`: the person's part was said already.
 */
export function reportFailure(error: unknown, options: { json: boolean; printed: boolean }): number {
  const known = asKnown(error);
  if (!options.printed) {
    const name = styleText("red", "execute-code:", { stream: process.stderr });
    note(`${name} ${known.message}\n  ${known.remedy} (${known.code})`);
  }
  if (options.json)
    process.stdout.write(`${JSON.stringify({ error: known.toBody() satisfies ErrorBody })}\n`);
  return ERRORS[known.code].exit;
}

function asKnown(error: unknown): ExecuteCodeError {
  if (error instanceof ExecuteCodeError) return error;
  if (error instanceof Error && "exitCode" in error) {
    return usageError(error.message.replace(/^error: /, ""));
  }
  return new ExecuteCodeError("internal", {
    message: error instanceof Error ? error.message : String(error),
    cause: error,
  });
}

/** The call itself is wrong. */
export function usageError(message: string, remedy = "Run the command with --help."): ExecuteCodeError {
  return new ExecuteCodeError("invalid_request", { message, remedy });
}
