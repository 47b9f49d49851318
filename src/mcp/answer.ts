/** An execution's record as a tool answer: text for the model, images, and a small structured digest. */
import type { CallToolResult, ContentBlock } from "@modelcontextprotocol/server";
import type { ExecutionRecord, MimeBundle, RestoredVariable } from "../contract/records.ts";
import type { ExecuteCodeOutput } from "../contract/tools.ts";
import { type Client, ExecuteCodeError, memoryNotes, statusLine } from "../sdk/index.ts";
import { type Bounded, clean, headAndTail, shareRoom } from "./text.ts";

/** Bounds of the digest, in characters and names. */
const DIGEST = { result: 2_000, message: 1_000, names: 100 } as const;
const PROMPT_CHARS = 500;
/** Images that one answer carries, and the bytes that one may have. What exceeds it is named with its address. */
const IMAGES = { count: 8, bytes: 5 * 1024 * 1024 } as const;
const IMAGE_TYPES = ["image/png", "image/jpeg"] as const;

interface AnswerOptions {
  /** Characters of text. */
  readonly room: number;
  /** Whether a failed execution makes the call a failed one. */
  readonly failing: boolean;
  /** Replaces the record's output: what came since an offset. */
  readonly output?: { readonly stdout: Bounded; readonly stderr: Bounded };
}

export async function answer(
  client: Client,
  record: ExecutionRecord,
  options: AnswerOptions,
): Promise<CallToolResult> {
  const shown = await shownOf(client, record);
  const stdout = options.output?.stdout ?? { text: record.stdout, omitted: record.truncated.stdout_bytes };
  const stderr = options.output?.stderr ?? { text: record.stderr, omitted: record.truncated.stderr_bytes };
  const result = resultText(record);
  const parts = [
    { label: "", text: stdout.text },
    ...shown.texts.map((text) => ({ label: "display:", text })),
    { label: "stderr:", text: stderr.text },
    ...record.late.map((late) => ({
      label: `late ${late.stream}, from ${late.execution}:`,
      text: late.text,
    })),
    { label: "result:", text: result },
    { label: "error:", text: errorText(record) },
  ]
    .map(({ label, text }) => ({ label, text: clean(text) }))
    .filter(({ text }) => text !== "");
  const shares = shareRoom(
    parts.map((part) => part.text.length),
    options.room,
  );
  let omitted = stdout.omitted + stderr.omitted;
  const lines = [statusLine(record)];
  parts.forEach((part, index) => {
    const bounded = headAndTail(part.text, shares[index]!);
    omitted += bounded.omitted;
    if (part.label !== "") lines.push(part.label);
    lines.push(bounded.text.replace(/\n$/, ""));
  });
  lines.push(...notes(record, omitted), ...shown.notes);
  const failed = options.failing && record.status !== "ok" && record.status !== "running";
  return {
    content: [{ type: "text", text: lines.join("\n") }, ...shown.images],
    structuredContent: { ...digest(record, result, omitted) },
    ...(failed ? { isError: true } : {}),
  };
}

/** What the model should do or know next, where that is not plain from the status line. */
function notes(record: ExecutionRecord, omitted: number): string[] {
  const said: string[] = [];
  if (record.input_requested !== null) {
    const { prompt } = record.input_requested;
    const asks = prompt.trim() === "" ? "It waits for input" : `It asks “${oneLine(prompt)}”`;
    said.push(`${asks}: answer with execution, id ${record.id}, action input, text.`);
  } else if (record.status === "running") {
    said.push(
      `It runs on: follow it with execution, id ${record.id}, action wait or peek (offset ${record.offset}).`,
    );
  }
  said.push(...memoryNotes(record).map(clean));
  if (omitted > 0) said.push(`All output: execute-code://executions/${record.id}/stdout (or stderr).`);
  return said;
}

function oneLine(prompt: string): string {
  return headAndTail(clean(prompt).trim().replace(/\s+/g, " "), PROMPT_CHARS).text;
}

function errorText(record: ExecutionRecord): string {
  if (record.error === null) return "";
  return record.error.traceback || `${record.error.type}: ${record.error.message}`;
}

/** The richest text that a model reads well. HTML is never given. */
function textOf(mime: MimeBundle): string | null {
  for (const type of ["text/markdown", "text/latex"]) {
    const text = mime[type];
    if (typeof text === "string") return text;
  }
  const json = mime["application/json"];
  if (json !== undefined) return JSON.stringify(json);
  const plain = mime["text/plain"];
  return typeof plain === "string" ? plain : null;
}

function resultText(record: ExecutionRecord): string {
  return record.result === null ? "" : (textOf(record.result.mime) ?? record.result.text);
}

interface Shown {
  readonly texts: string[];
  readonly images: ContentBlock[];
  /** Images that are not carried, by address. */
  readonly notes: string[];
}

/** Displays in their latest state, and the images of displays and result. */
async function shownOf(client: Client, record: ExecutionRecord): Promise<Shown> {
  const shown: Shown = { texts: [], images: [], notes: [] };
  const latest = new Map<string, number>();
  record.displays.forEach((display, index) => {
    latest.set(display.display_id ?? `#${index}`, index);
  });
  for (const index of [...latest.values()].sort((a, b) => a - b)) {
    const { mime } = record.displays[index]!;
    const hasImage = await addImage(client, record, mime, index, shown);
    const text = textOf(mime);
    // Beside an image the plain text only names the object.
    if (text !== null && !(hasImage && text === mime["text/plain"])) shown.texts.push(text);
  }
  if (record.result !== null) await addImage(client, record, record.result.mime, null, shown);
  return shown;
}

/** Adds the image of a display (by its index) or of the result (null), if there is one; tells whether. */
async function addImage(
  client: Client,
  record: ExecutionRecord,
  mime: MimeBundle,
  display: number | null,
  shown: Shown,
): Promise<boolean> {
  for (const mimeType of IMAGE_TYPES) {
    const inline = mime[mimeType];
    const artifact = record.artifacts.find(
      (one) =>
        one.mime === mimeType &&
        (display === null ? one.source === "result" : one.source === "display" && one.display === display),
    );
    if (typeof inline === "string" && shown.images.length < IMAGES.count) {
      shown.images.push({ type: "image", data: inline.replace(/\s/g, ""), mimeType });
      return true;
    }
    if (artifact !== undefined) {
      if (shown.images.length < IMAGES.count && artifact.bytes <= IMAGES.bytes) {
        const { bytes } = await client.artifact(record.id, artifact.number);
        shown.images.push({ type: "image", data: bytes.toString("base64"), mimeType });
      } else {
        shown.notes.push(`${mimeType}, ${artifact.bytes} bytes: ${artifact.uri}`);
      }
      return true;
    }
    if (inline !== undefined) {
      shown.notes.push(`${mimeType}: see execute-code://executions/${record.id}/record`);
      return true;
    }
  }
  return false;
}

function cleanVariable(one: RestoredVariable): RestoredVariable {
  return { ...one, name: clean(one.name), reason: one.reason === null ? null : clean(one.reason) };
}

function digest(record: ExecutionRecord, result: string, omitted: number): ExecuteCodeOutput {
  const names = (variables: ReadonlyArray<{ name: string }>) =>
    variables.slice(0, DIGEST.names).map((variable) => clean(variable.name));
  return {
    execution_id: record.id,
    session: record.session,
    revision: record.revision,
    status: record.status,
    duration_ms: record.duration_ms,
    result: record.result === null ? null : headAndTail(clean(result), DIGEST.result).text,
    error:
      record.error === null
        ? null
        : {
            type: clean(record.error.type),
            message: headAndTail(clean(record.error.message), DIGEST.message).text,
            line: record.error.line,
          },
    state: record.state,
    rolled_back: record.rolled_back && {
      ...record.rolled_back,
      files: record.rolled_back.files
        .slice(0, DIGEST.names)
        .map((file) => ({ ...file, path: clean(file.path) })),
      ended:
        record.rolled_back.ended?.slice(0, DIGEST.names).map(({ kind, what, variable }) => ({
          kind,
          what: clean(what),
          variable: variable === null ? null : clean(variable),
        })) ?? null,
    },
    restore: record.restore && {
      restored: record.restore.restored,
      altered: record.restore.altered.slice(0, DIGEST.names).map(cleanVariable),
      recomputed: record.restore.recomputed.slice(0, DIGEST.names).map(cleanVariable),
      lost: record.restore.lost.slice(0, DIGEST.names).map(cleanVariable),
    },
    variables: {
      added: names(record.variables.added),
      changed: names(record.variables.changed),
      deleted: record.variables.deleted.slice(0, DIGEST.names).map(clean),
    },
    directives: record.directives,
    artifacts: record.artifacts.map(({ uri, mime }) => ({ uri, mime })),
    truncated: { bytes: omitted },
    input_requested: record.input_requested,
    offset: record.offset,
  };
}

/** A text answer. */
export function textAnswer(lines: readonly string[], room: number): CallToolResult {
  return { content: [{ type: "text", text: headAndTail(clean(lines.join("\n")), room).text }] };
}

/** A failure of the platform, or a call that cannot be served: what went wrong and what to do. */
export function failureAnswer(error: unknown): CallToolResult {
  const known =
    error instanceof ExecuteCodeError
      ? error
      : new ExecuteCodeError("internal", { message: error instanceof Error ? error.message : String(error) });
  const text = clean(`error ${known.code}: ${known.message}\n${known.remedy}`);
  return { content: [{ type: "text", text }], isError: true };
}
