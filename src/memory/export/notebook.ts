/** A Jupyter notebook, nbformat 4.5: one code cell an execution, with its outputs. */
import type { ExecutionRecord, MimeBundle } from "../../contract/records.ts";
import type { Document } from "./document.ts";
import type { Exported } from "./executions.ts";
import { isBinary, isJson, type Output, outputsOf, type Shown } from "./outputs.ts";

export async function* notebook(document: Document): AsyncGenerator<string, void> {
  const { session, line } = document;
  yield '{\n "cells": [';
  let separator = "\n";
  for await (const exported of document.executions) {
    yield separator;
    yield* cell(exported, document);
    separator = ",\n";
  }
  const metadata = {
    execute_code: { session: session.name, session_id: session.id, line },
    kernelspec: { display_name: "Python 3", language: "python", name: "python3" },
    language_info: { file_extension: ".py", mimetype: "text/x-python", name: "python" },
  };
  yield `\n ],\n "metadata": ${JSON.stringify(metadata)},\n "nbformat": 4,\n "nbformat_minor": 5\n}\n`;
}

async function* cell(exported: Exported, document: Document): AsyncGenerator<string, void> {
  const { record } = exported.stored;
  const count = record.revision > 0 ? record.revision : null;
  const metadata = JSON.stringify(metadataOf(record, exported.abandoned));
  yield `  {"cell_type": "code", "id": "${record.id}", "execution_count": ${count},\n   "metadata": ${metadata},\n`;
  yield `   "source": ${JSON.stringify(linesOf(record.code))},\n   "outputs": [`;
  let separator = "\n    ";
  for await (const output of outputsOf(exported.stored, document.artifacts, document)) {
    yield separator + JSON.stringify(outputOf(output, count));
    separator = ",\n    ";
  }
  yield "]}";
}

function metadataOf(record: ExecutionRecord, abandoned: boolean) {
  const { id, session, session_id, generation, revision, parent, status, started_at, duration_ms } = record;
  const ended = new Date(Date.parse(started_at) + duration_ms).toISOString();
  return {
    execute_code: {
      id,
      session,
      session_id,
      generation,
      revision,
      parent,
      status,
      started_at,
      duration_ms,
      ...(abandoned ? { abandoned } : {}),
    },
    execution: {
      "iopub.execute_input": started_at,
      "iopub.status.busy": started_at,
      "iopub.status.idle": ended,
      "shell.execute_reply": ended,
    },
    // Jupyter's own mark of a cell that may fail without ending a run of the notebook.
    ...(status === "error" ? { tags: ["raises-exception"] } : {}),
  };
}

function outputOf(output: Output, count: number | null): object {
  switch (output.kind) {
    case "stream":
      return { output_type: "stream", name: output.name, text: linesOf(output.text) };
    case "answer":
      return { output_type: "stream", name: "stdin", text: linesOf(output.text) };
    case "display":
      return { output_type: "display_data", ...dataOf(output.shown, null) };
    case "result":
      return {
        output_type: "execute_result",
        execution_count: count,
        ...dataOf(output.shown, output.text),
      };
    case "error": {
      const { type, message, traceback } = output.error;
      const told = (traceback === "" ? `${type}: ${message}` : traceback).toWellFormed();
      return {
        output_type: "error",
        ename: type.toWellFormed(),
        evalue: message.toWellFormed(),
        traceback: told.trimEnd().split("\n"),
      };
    }
  }
}

/** `text`: the plain text where the bundle has none. */
function dataOf({ mime, left }: Shown, text: string | null): { data: MimeBundle; metadata: object } {
  const data: MimeBundle = {};
  for (const [type, value] of Object.entries(mime)) {
    if (isJson(type)) data[type] = value;
    else if (typeof value !== "string") data[type] = JSON.stringify(value);
    else data[type] = isBinary(type) ? value : linesOf(value);
  }
  if (data["text/plain"] === undefined && (text !== null || Object.keys(data).length === 0)) {
    data["text/plain"] = linesOf(text ?? left.join("\n"));
  }
  return { data, metadata: left.length === 0 ? {} : { execute_code: { left_out: left } } };
}

/** As notebooks keep texts: a list of lines, each with its end. */
function linesOf(text: string): string[] {
  return text.toWellFormed().match(/[^\n]*\n|[^\n]+$/g) ?? [];
}
