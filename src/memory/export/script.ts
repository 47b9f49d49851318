/**
 * A Python script with `# %%` cells that does again what the session did. Magics are comments. A cell that raised may
 * raise again without ending the script, since what it did before it raised stayed; cells that were stopped, that
 * ended their process or were abandoned are comments.
 */
import type { ExecutionRecord } from "../../contract/records.ts";
import type { Document } from "./document.ts";
import { awaitsAtTop, type LogicalLine, logicalLines } from "./python.ts";

const FUTURE = /^\s*from\s+__future__\s+import\b/;
/** Magics whose text below is Python that the session's variables came from. */
const AROUND_CODE = /^%%(?:time|capture)\b/;
const TIMED = /^([ \t]*)%time[ \t]+(?!-)(.+)$/;
const NOT_COMPILED = new Set(["SyntaxError", "IndentationError", "TabError"]);

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

/** What must stand at the top: imports from `__future__`, and a stand-in for what only sessions have. */
async function* preamble({ executions }: Document): AsyncGenerator<string, void> {
  const futures = new Set<string>();
  let displays = false;
  let ec = false;
  for await (const { stored, abandoned } of executions) {
    const { record } = stored;
    if (abandoned || asComments(record)) continue;
    for (const { lines, code } of logicalLines(record.code)) {
      if (FUTURE.test(code)) {
        for (const [name] of lines.join(" ").replace(FUTURE, "").replace(/#.*/, "").matchAll(/\w+/g))
          futures.add(name);
      }
      displays ||= /(?<![\w.])display\s*\(/.test(code);
      ec ||= /(?<![\w.])ec\s*\./.test(code);
    }
  }
  if (futures.size > 0) yield `from __future__ import ${[...futures].join(", ")}\n`;
  if (displays)
    yield "\ntry:\n    display\nexcept NameError:\n    display = print  # Sessions and notebooks show more.\n";
  if (ec) yield "\n# `ec` is there inside a session.\n";
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
  const note = awaitsAtTop(lines)
    ? "# This cell awaits at the top level: it runs in a session or a notebook, and not in a plain script.\n"
    : "";
  const text = runnable(lines);
  if (record.status === "ok") return `${note}${text.map(({ text: line }) => `${line}\n`).join("")}`;
  const inner = text.map(({ text: line, inString }) => (inString || line === "" ? line : `    ${line}`));
  return [
    `${note}try:`,
    ...inner,
    ...(inner.every((line) => /^\s*(?:#|$)/.test(line)) ? ["    pass"] : []),
    "except (Exception, SystemExit):",
    "    # It raised in the session, too, which went on.",
    '    __import__("traceback").print_exc()',
    "",
  ].join("\n");
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
    else if (FUTURE.test(line.code)) made.push(...line.lines.map(commented));
    else made.push(...line.lines.map((text, index) => ({ text, inString: line.inString[index]! })));
  }
  return made;
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
