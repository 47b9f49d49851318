/** `session import`: a session made of a notebook, by running its code cells in order. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { ExecuteCodeError } from "../contract/errors.ts";
import { LIMITS } from "../contract/limits.ts";
import { Notebook, type NotebookCell } from "../contract/notebook.ts";
import type { ExecutionRecord, IsolationTier } from "../contract/records.ts";
import { createClient, statusLine } from "../sdk/index.ts";
import { type GrantFlags, grantsOf } from "./grants.ts";
import { EXIT } from "./show.ts";
import { decode } from "./source.ts";
import { note, oneLine, usageError, writeFacts, writeJson } from "./terminal.ts";

interface Flags extends GrantFlags {
  keepGoing?: boolean;
  python?: string;
  isolation?: IsolationTier;
  /** Milliseconds, for each cell. */
  timeout?: number;
  json?: boolean;
}

interface CodeCell {
  /** Its place among all cells, from 1. */
  readonly number: number;
  readonly code: string;
  /** Marked as one that may fail. */
  readonly mayFail: boolean;
}

/** Jupyter's mark of such a cell. */
const MAY_FAIL = "raises-exception";

/** Stops at the first cell that fails, unless it may or `--keep-going` was said; its status is the command's. */
export async function importNotebook(file: string, name: string | undefined, flags: Flags): Promise<number> {
  const cells = codeCells(await readNotebook(file));
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(3);
      stop.abort();
    });
  }
  await using client = createClient({ client: "cli" });
  const session = await client.createSession({
    name: name ?? nameOf(file),
    python: flags.python,
    isolation: flags.isolation,
    grants: grantsOf(flags),
  });
  const ran: { cell: number; execution: string; status: ExecutionRecord["status"] }[] = [];
  let failure: ExecutionRecord | null = null;
  for (const [index, cell] of cells.entries()) {
    if (stop.signal.aborted) break;
    const record = await client.execute({
      code: cell.code,
      session: session.id,
      timeoutMs: flags.timeout ?? LIMITS.longestMs,
      onTimeout: "interrupt",
      // Nobody sits at a notebook that is run as a whole.
      onInput: "refuse",
      signal: stop.signal,
    });
    ran.push({ cell: cell.number, execution: record.id, status: record.status });
    note(`[${index + 1}/${cells.length}] cell ${cell.number}: ${statusLine(record)}`);
    if (record.status === "ok" || (cell.mayFail && record.status === "error")) continue;
    note(record.error === null ? record.status : record.error.traceback.trimEnd() || record.error.message);
    failure ??= record;
    if (flags.keepGoing !== true) break;
  }
  const left = cells.length - ran.length;
  if (flags.json) {
    await writeJson({ session: session.name, session_id: session.id, file, cells: cells.length, ran, left });
  } else {
    await writeFacts({
      session: session.name,
      "cells run": ran.length,
      "cells left": left === 0 ? null : left,
    });
  }
  if (left > 0 && failure !== null && !stop.signal.aborted)
    note("It stopped at the cell that failed; --keep-going runs the others, too.");
  return failure === null ? (stop.signal.aborted ? 3 : 0) : EXIT[failure.status];
}

function codeCells(cells: readonly NotebookCell[]): CodeCell[] {
  return cells.flatMap(({ cell_type, source, metadata }, index) =>
    cell_type === "code" && source.trim() !== ""
      ? [{ number: index + 1, code: source, mayFail: metadata.tags.includes(MAY_FAIL) }]
      : [],
  );
}

async function readNotebook(file: string): Promise<readonly NotebookCell[]> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    const reason =
      error.code === "ENOENT"
        ? "there is no such file"
        : error.code === "EISDIR"
          ? "it is a folder"
          : error.message;
    throw usageError(`${file} cannot be read: ${reason}.`, "Give the path of a notebook, a file *.ipynb.");
  });
  const text = decode(bytes, file);
  let json: unknown;
  try {
    json = parse(text);
  } catch (cause) {
    throw noNotebook(
      file,
      `it is no JSON (${oneLine((cause as Error).message)})`,
      file.endsWith(".ipynb")
        ? "Save it again with Jupyter, or mend it at that place."
        : "Run a script with `execute-code run FILE`.",
    );
  }
  const version = typeof json === "object" && json !== null && "nbformat" in json ? json.nbformat : undefined;
  if (typeof version !== "number") {
    throw noNotebook(file, "it is JSON without `nbformat`", "Give the path of a notebook, a file *.ipynb.");
  }
  if (version !== 4) {
    throw noNotebook(
      file,
      `it is of nbformat ${version}, and only 4 is read`,
      `Convert it first: jupyter nbconvert --to notebook --nbformat 4 ${path.basename(file)}.`,
    );
  }
  const parsed = Notebook.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw noNotebook(
      file,
      `${issue?.path.join(".") ?? "it"}: ${issue?.message ?? "not as it should be"}`,
      "Open it in Jupyter and save it again.",
    );
  }
  const { kernelspec, language_info } = parsed.data.metadata;
  const language = (language_info?.name ?? kernelspec?.language ?? "python").toLowerCase();
  if (!["python", "ipython"].includes(language)) {
    throw new ExecuteCodeError("unknown_language", {
      message: `${file} is a notebook of ${language}; sessions run Python.`,
      remedy: "Import a notebook of Python.",
      details: { language },
    });
  }
  return parsed.data.cells;
}

/** JSON as Python writes it: with NaN and Infinity, which outputs may have, and which are read as 0. Throws SyntaxError. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(withoutNonFinite(text));
  }
}

/** Of the same length, so that a place in the one is the place in the other. */
function withoutNonFinite(text: string): string {
  const parts: string[] = [];
  for (let at = 0; at < text.length; ) {
    const opening = text.indexOf('"', at);
    const outside = text.slice(at, opening === -1 ? text.length : opening);
    parts.push(outside.replace(/\b(?:NaN|Infinity)\b/g, (word) => "0".padEnd(word.length)));
    if (opening === -1) break;
    let end = opening + 1;
    while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
    at = end + 1;
    parts.push(text.slice(opening, at));
  }
  return parts.join("");
}

function noNotebook(file: string, why: string, remedy: string): ExecuteCodeError {
  return usageError(`${file} cannot be imported: ${why}.`, remedy);
}

/** The file's name, as far as a session can have it. */
function nameOf(file: string): string {
  const stem = path.basename(file).replace(/\.ipynb$/i, "");
  const name = stem
    .normalize("NFC")
    .replace(/[^\p{L}\p{N}._-]+/gu, "-")
    .replace(/^[^\p{L}\p{N}]+|-+$/gu, "")
    .slice(0, LIMITS.sessionNameLength);
  if (name === "") throw usageError(`${file} gives no name for a session.`, "Say the NAME of the session.");
  return name;
}
