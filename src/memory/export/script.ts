/**
 * A Python script with `# %%` cells that does again what the session did. Magics are comments. A cell that raised may
 * raise again without ending the script, since what it did before it raised stayed; cells that were stopped, that
 * ended their process or were abandoned are comments.
 */
import type { ExecutionRecord } from "../../contract/records.ts";
import { NOT_COMPILED } from "../executions/not-compiled.ts";
import type { Document } from "./document.ts";
import { awaitsAtTop, type LogicalLine, logicalLines } from "./python.ts";

const FUTURE = /^\s*from\s+__future__\s+import\b/;
/** Magics whose text below is Python that the session's variables came from. */
const AROUND_CODE = /^%%(?:time|capture)\b/;
const TIMED = /^([ \t]*)%time[ \t]+(?!-)(.+)$/;

export async function* script(document: Document): AsyncGenerator<string, void> {
  const { session, line } = document;
  const which = line === "all" ? "all its executions" : "the executions of its current line";
  yield `# Session ${session.name}: ${which}, oldest first.\n`;
  yield* preamble(document);
  for await (const { stored, abandoned } of document.executions) {
    const { record } = stored;
    yield `\n# %% ${headingOf(record, abandoned)}\n${cellText(record, abandoned)}`;
  }
}

/** Runs a cell as sessions do, with `await` outside of functions; its event loop goes on from one to the next. */
const AWAITING = `
import ast, asyncio, inspect


def _run_awaiting(code, _loop=asyncio.new_event_loop()):
    value = eval(compile(code, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), globals())
    if inspect.iscoroutine(value):
        _loop.run_until_complete(value)
`;

const DISPLAY = `
try:
    display
except NameError:
    display = print  # Sessions and notebooks show more.
`;

/** What must stand at the top: imports from `__future__`, and a stand-in for what only sessions have. */
async function* preamble({ executions }: Document): AsyncGenerator<string, void> {
  const futures = new Set<string>();
  const uses = { display: false, ec: false, awaits: false };
  for await (const { stored, abandoned } of executions) {
    const { record } = stored;
    if (abandoned || asComments(record)) continue;
    const lines = ofPython(logicalLines(record.code));
    uses.awaits ||= awaitsAtTop(lines);
    for (const line of lines) {
      if (FUTURE.test(line.code)) for (const name of futureNames(line)) futures.add(name);
      uses.display ||= /(?<![\w.])display\s*\(/.test(line.code);
      uses.ec ||= /(?<![\w.])ec\s*\./.test(line.code);
    }
  }
  if (futures.size > 0) yield `from __future__ import ${[...futures].join(", ")}\n`;
  if (uses.awaits) yield AWAITING;
  if (uses.display) yield DISPLAY;
  if (uses.ec) yield "\n# `ec` is there inside a session.\n";
}

/** The lines above a cell magic whose text is not Python. */
function ofPython(lines: Iterable<LogicalLine>): LogicalLine[] {
  const all = [...lines];
  const end = all.findIndex((line) => line.magic === "cell" && !AROUND_CODE.test(line.lines[0]!));
  return end < 0 ? all : all.slice(0, end);
}

/** What an import from `__future__` names; other statements may follow it on its line. */
function futureNames({ lines }: LogicalLine): string[] {
  const names = lines
    .map((line) => line.replace(/#.*/, ""))
    .join(" ")
    .replace(FUTURE, "")
    .replace(/;.*/, "")
    .replaceAll(/\bas\s+\w+/g, "");
  return names.match(/\w+/g) ?? [];
}

function headingOf(record: ExecutionRecord, abandoned: boolean): string {
  const parts = [record.id, record.status];
  if (record.error !== null) parts.push(oneLine(`${record.error.type}: ${record.error.message}`));
  if (abandoned) parts.push("(on an abandoned line)");
  return parts.join(" ");
}

function oneLine(text: string): string {
  const flat = text.replace(/[\p{Cc}\s]+/gu, " ").trim();
  return (flat.length <= 120 ? flat : `${flat.slice(0, 119)}…`).toWellFormed();
}

/** Whether its code would stop a script, and had no effect that can be had again. */
function asComments({ status, error }: ExecutionRecord): boolean {
  return status === "error" ? NOT_COMPILED.has(error?.type ?? "") : status !== "ok";
}

function cellText(record: ExecutionRecord, abandoned: boolean): string {
  const code = record.code.toWellFormed().replaceAll("\0", "\ufffd").trimEnd();
  if (abandoned || asComments(record)) {
    return code
      .split(/\r\n?|\n/)
      .map((line) => `${comment(line)}\n`)
      .join("");
  }
  const lines = [...logicalLines(code)];
  const python = runnable(lines);
  const text = awaitsAtTop(ofPython(lines)) ? awaiting(python) : python;
  if (record.status === "ok") return text.map(({ text: line }) => `${line}\n`).join("");
  const inner = text.map(({ text: line, inString }) => (inString || line === "" ? line : `    ${line}`));
  return [
    "try:",
    ...inner,
    ...(inner.every((line) => /^\s*(?:#|$)/.test(line)) ? ["    pass"] : []),
    "except BaseException:",
    "    # It raised in the session, too, which went on.",
    '    __import__("traceback").print_exc()',
    "",
  ].join("\n");
}

/** The lines as a text that is given to what runs them. */
function awaiting(lines: readonly Physical[]): Physical[] {
  const quoted = lines.map(({ text }) => text.replaceAll("\\", "\\\\").replaceAll("'''", "\\'\\'\\'"));
  return ["_run_awaiting('''", ...quoted, "''')"].map((text, index) => ({ text, inString: index > 0 }));
}

interface Physical {
  readonly text: string;
  readonly inString: boolean;
}

/** The physical lines of a cell that Python runs. */
function runnable(lines: readonly LogicalLine[]): Physical[] {
  const made: Physical[] = [];
  let rest = false;
  for (const line of lines) {
    if (rest) made.push(...line.lines.map(commented));
    else if (line.magic === "cell") {
      made.push(...line.lines.map(commented));
      rest = !AROUND_CODE.test(line.lines[0]!);
    } else if (line.magic === "line") made.push(...magicLines(line));
    else if (FUTURE.test(line.code)) made.push(...futureLines(line));
    else made.push(...line.lines.map((text, index) => ({ text, inString: line.inString[index]! })));
  }
  return made;
}

/** An import from `__future__` as a comment, and what follows it on its line. */
function futureLines({ lines, inString }: LogicalLine): Physical[] {
  const at = lines.findIndex((line) => /^[^#]*;/.test(line));
  if (at < 0) return lines.map(commented);
  const [head = ""] = lines[at]!.split(";", 1);
  const rest = { text: lines[at]!.slice(head.length + 1).trimStart(), inString: false };
  const after = lines.slice(at + 1).map((text, index) => ({ text, inString: inString[at + 1 + index]! }));
  return [...lines.slice(0, at).map(commented), commented(head), rest, ...after];
}

/** A line magic as a comment, with what Python needs in a block. What `%time` measures is kept. */
function magicLines({ lines }: LogicalLine): Physical[] {
  const [first = "", ...others] = lines;
  const timed = others.length === 0 ? TIMED.exec(first) : null;
  if (timed !== null) return [{ text: `${timed[1]}${timed[2]}  # %time`, inString: false }];
  const indent = /^[ \t\f]*/.exec(first)![0];
  const head = indent === "" ? comment(first) : `${indent}pass  ${comment(first.trimStart())}`;
  return [{ text: head, inString: false }, ...others.map(commented)];
}

function commented(text: string): Physical {
  return { text: comment(text), inString: false };
}

function comment(line: string): string {
  return line === "" ? "#" : `# ${line}`;
}
