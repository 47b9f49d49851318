/** A Markdown document for people: code, output, images. */
import { stripVTControlCharacters } from "node:util";
import type { ExecutionRecord } from "../../contract/records.ts";
import type { Document } from "./document.ts";
import { isBinary, isJson, type Output, outputsOf, type Shown } from "./outputs.ts";

export async function* markdown(document: Document): AsyncGenerator<string, void> {
  const { session, line } = document;
  const which = line === "all" ? "All its executions" : "The executions of its current line";
  yield `# Session ${session.name}\n\n${which}, oldest first.\n`;
  for await (const { stored, abandoned } of document.executions) {
    const { record } = stored;
    yield `\n## ${headingOf(record, abandoned)}\n\n${fenced(record.code, record.language)}`;
    for await (const output of outputsOf(stored, document.artifacts, document)) {
      const text = textOf(output);
      if (text !== "") yield `\n${text}`;
    }
  }
}

function headingOf(record: ExecutionRecord, abandoned: boolean): string {
  const status = record.status === "ok" ? "ok" : `**${record.status}**`;
  const parts = [record.id, status, `${Math.round(record.duration_ms)} ms`, record.started_at];
  if (abandoned) parts.push("on an abandoned line");
  return `${record.revision} · ${parts.join(" · ")}`;
}

function textOf(output: Output): string {
  switch (output.kind) {
    case "stream": {
      const label = [output.late ? "late" : "", output.name === "stderr" || output.late ? output.name : ""];
      return labelled(label.join(" ").trim(), fenced(output.text, "text"));
    }
    case "answer":
      return labelled("answered", fenced(output.text, "text"));
    case "display":
      return shownText(output.shown, "");
    case "result":
      return labelled("result", shownText(output.shown, output.text));
    case "error": {
      const { type, message, traceback } = output.error;
      return labelled("error", fenced(traceback === "" ? `${type}: ${message}` : traceback, "text"));
    }
  }
}

function labelled(label: string, text: string): string {
  return label === "" || text === "" ? text : `${label}:\n\n${text}`;
}

/** The parts that a reader sees best: an image, Markdown, LaTeX, else the plain text, JSON or HTML as they are. */
function shownText({ mime, left }: Shown, plain: string): string {
  const blocks = left.map((note) => `*${note}*\n`);
  const image = Object.keys(mime).find((type) => type.startsWith("image/"));
  const rich = ["text/markdown", "text/latex"].find((type) => typeof mime[type] === "string");
  const text = mime["text/plain"] ?? plain;
  if (image !== undefined) blocks.push(imageText(image, mime[image]));
  else if (rich !== undefined) blocks.push(`${(mime[rich] as string).toWellFormed().trimEnd()}\n`);
  else if (typeof text === "string" && text !== "") blocks.push(fenced(text, "text"));
  else {
    const [type] = Object.keys(mime);
    if (type !== undefined && isBinary(type)) blocks.push(`*${type}*\n`);
    else if (type !== undefined) {
      const value = mime[type]!;
      blocks.push(
        fenced(
          typeof value === "string" ? value : JSON.stringify(value, null, 2),
          isJson(type) ? "json" : "html",
        ),
      );
    }
  }
  return blocks.join("\n");
}

function imageText(type: string, value: unknown): string {
  if (typeof value !== "string") return `*${type}*\n`;
  const base64 = isBinary(type) ? value.replace(/\s/g, "") : Buffer.from(value).toString("base64");
  return `![${type}](data:${type};base64,${base64})\n`;
}

/** In a fence that is longer than any inside, without terminal sequences. */
function fenced(text: string, language: string): string {
  const content = stripVTControlCharacters(text.toWellFormed());
  const longest = (content.match(/`+/g) ?? []).reduce((most, run) => Math.max(most, run.length), 2);
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${content}${content === "" || content.endsWith("\n") ? "" : "\n"}${fence}\n`;
}
