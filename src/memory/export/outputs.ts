/** What an execution put out, in the order in which it came: text, displays, answers, then result, late text, error. */
import { type FileHandle, open, readFile } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";
import { LIMITS } from "../../contract/limits.ts";
import type { Artifact, ExecutionError, ExecutionRecord, MimeBundle } from "../../contract/records.ts";
import type { StreamName } from "../../execution/index.ts";
import type { Artifacts } from "../artifacts.ts";
import { streamArtifact } from "../executions/stored.ts";
import type { StoredExecution } from "../ports/store.ts";

export interface Shown {
  /** All parts, those that are artifacts included: text, JSON values, and base64 of what is binary. */
  readonly mime: MimeBundle;
  /** In words: the parts that are left out. */
  readonly left: readonly string[];
}

export type Output =
  | { readonly kind: "stream"; readonly name: StreamName; readonly text: string; readonly late: boolean }
  /** What was answered to `input()`; its prompt is part of stdout. */
  | { readonly kind: "answer"; readonly text: string }
  | { readonly kind: "display"; readonly shown: Shown }
  | { readonly kind: "result"; readonly text: string; readonly shown: Shown }
  | { readonly kind: "error"; readonly error: ExecutionError };

export interface OutputOptions {
  /** Whether images and other binary parts are told with their content, or left out with a note. */
  readonly images: "inline" | "omit";
}

/**
 * Text of a stream beyond what a record holds (192 KiB of its head, 64 KiB of its tail) is left out with a line that
 * says so. Updates of a display are shown in the place of the display.
 */
export async function* outputsOf(
  { record, timeline }: StoredExecution,
  artifacts: Artifacts,
  options: OutputOptions,
): AsyncGenerator<Output, void> {
  const streams = {
    o: await Kept.of(record, "stdout", artifacts),
    e: await Kept.of(record, "stderr", artifacts),
  };
  const displays = latestDisplays(record);
  const pending: { name: StreamName; text: string } = { name: "stdout", text: "" };
  const flushed = function* (): Generator<Output, void> {
    if (pending.text !== "") yield { kind: "stream", ...pending, late: false };
    pending.text = "";
  };
  const shown = { d: 0, i: 0 };
  // Whatever the timeline does not tell of comes at its end.
  const runs = [...timeline, ["o", Infinity], ["e", Infinity], ["d", Infinity]] as typeof timeline;
  for (const [kind, count] of runs) {
    if (kind === "o" || kind === "e") {
      const name = kind === "o" ? "stdout" : "stderr";
      const text = streams[kind].take(count);
      if (text === "") continue;
      if (pending.name !== name) yield* flushed();
      pending.name = name;
      pending.text += text;
    } else if (kind === "d") {
      const last = Math.min(shown.d + count, record.displays.length);
      for (; shown.d < last; shown.d++) {
        const index = displays[shown.d];
        if (index === undefined || index === null) continue;
        yield* flushed();
        const { mime } = record.displays[index]!;
        yield { kind: "display", shown: await shownOf(record, mime, index, artifacts, options) };
      }
    } else if (kind === "i") {
      for (const last = shown.i + count; shown.i < last; shown.i++) {
        const answer = record.inputs[shown.i]?.answer;
        if (typeof answer !== "string") continue;
        yield* flushed();
        yield { kind: "answer", text: `${answer}\n` };
      }
    }
  }
  yield* flushed();
  for (const { execution, stream, text } of record.late) {
    // That of others is told with theirs.
    if (execution === record.id) yield { kind: "stream", name: stream, text, late: true };
  }
  if (record.result !== null) {
    const { text, mime } = record.result;
    yield { kind: "result", text, shown: await shownOf(record, mime, null, artifacts, options) };
  }
  if (record.error !== null) yield { kind: "error", error: record.error };
}

/** For each display the one that it shows at last; null for an update, which is shown in the display's place. */
function latestDisplays({ displays }: ExecutionRecord): (number | null)[] {
  const first = new Map<string, number>();
  const latest = new Map<string, number>();
  displays.forEach(({ display_id, update }, index) => {
    if (display_id === null) return;
    latest.set(display_id, index);
    // An update of what an earlier execution displayed stands for itself.
    if (!update || !first.has(display_id)) first.set(display_id, index);
  });
  return displays.map(({ display_id, update }, index) => {
    if (display_id === null) return index;
    return update && first.get(display_id) !== index ? null : latest.get(display_id)!;
  });
}

export function isJson(mime: string): boolean {
  return /^application\/(?:.*\+)?json$/.test(mime);
}

/** Parts whose content is base64. */
export function isBinary(mime: string): boolean {
  return (
    (/^(image|audio|video)\//.test(mime) && mime !== "image/svg+xml") ||
    mime === "application/pdf" ||
    mime === "application/octet-stream"
  );
}

async function shownOf(
  record: ExecutionRecord,
  inline: MimeBundle,
  display: number | null,
  artifacts: Artifacts,
  { images }: OutputOptions,
): Promise<Shown> {
  const mime: MimeBundle = {};
  const left: string[] = [];
  const omitted = (type: string): boolean =>
    images === "omit" && (isBinary(type) || type.startsWith("image/"));
  for (const [type, value] of Object.entries(inline)) {
    if (omitted(type)) left.push(`${type} is left out: execute-code://executions/${record.id}/record`);
    else mime[type] = value;
  }
  const source = display === null ? "result" : "display";
  for (const artifact of record.artifacts) {
    if (artifact.source !== source || artifact.display !== display) continue;
    if (omitted(artifact.mime)) left.push(`${described(artifact)} is left out: ${artifact.uri}`);
    else {
      try {
        mime[artifact.mime] = await contentOf(artifact, artifacts);
      } catch (error) {
        left.push(`${described(artifact)} cannot be read (${(error as Error).message}): ${artifact.uri}`);
      }
    }
  }
  return { mime, left };
}

function described({ mime, bytes }: Artifact): string {
  return `${mime}, ${bytes} bytes,`;
}

async function contentOf(artifact: Artifact, artifacts: Artifacts): Promise<MimeBundle[string]> {
  const bytes = await readFile(artifacts.place(artifact.sha256));
  if (isBinary(artifact.mime)) return bytes.toString("base64");
  const text = bytes.toString("utf8");
  return isJson(artifact.mime) ? (JSON.parse(text) as MimeBundle[string]) : text;
}

/** One stream of an execution: its head and its tail, taken in the order of its bytes. */
class Kept {
  readonly #decoder = new StringDecoder("utf8");
  readonly #bytes: number;
  readonly #head: Buffer;
  /** Empty when the head is all. */
  readonly #tail: Buffer;
  readonly #missing: string;
  #at = 0;
  #told = false;

  private constructor(bytes: number, head: Buffer, tail: Buffer, missing: string) {
    this.#bytes = bytes;
    this.#head = head;
    this.#tail = tail;
    this.#missing = missing;
  }

  static async of(record: ExecutionRecord, name: StreamName, artifacts: Artifacts): Promise<Kept> {
    const left = record.truncated[`${name}_bytes`];
    const all = `execute-code://executions/${record.id}/${name}`;
    const missing = left === 0 ? "" : `\n… ${left} bytes left out; all that was kept: ${all} …\n`;
    const artifact = streamArtifact(record, name);
    const inline = Buffer.from(record[name], "utf8");
    if (artifact === null) return new Kept(inline.length, inline, Buffer.alloc(0), missing);
    const { inlineHeadBytes: head, inlineTailBytes: tail } = LIMITS;
    let file: FileHandle;
    try {
      file = await open(artifacts.place(artifact.sha256));
    } catch (error) {
      // The record's text has a line of its own where something is left out.
      const lost = Buffer.from(`\n… ${all} cannot be read: ${(error as Error).message} …\n`);
      return new Kept(inline.length + lost.length, Buffer.concat([inline, lost]), Buffer.alloc(0), "");
    }
    try {
      const { bytes } = artifact;
      if (bytes <= head + tail) return new Kept(bytes, await read(file, 0, bytes), Buffer.alloc(0), missing);
      const last = fromCharacter(await read(file, bytes - tail, tail));
      return new Kept(bytes, await read(file, 0, head), last, missing);
    } finally {
      await file.close();
    }
  }

  /** The text of the next so many bytes; with the last of them all that was held back. */
  take(count: number): string {
    const from = this.#at;
    const to = Math.min(this.#bytes, from + count);
    this.#at = to;
    let text = this.#decoder.write(this.#head.subarray(from, to));
    if (this.#tail.length > 0 && to > this.#head.length) {
      const tailAt = this.#bytes - this.#tail.length;
      // The head's last character, when it is cut, is part of what is left out.
      if (!this.#told) this.#decoder.end();
      text += this.#gap();
      if (to > tailAt)
        text += this.#decoder.write(this.#tail.subarray(Math.max(from - tailAt, 0), to - tailAt));
    }
    return to < this.#bytes ? text : text + this.#decoder.end() + this.#gap();
  }

  /** The line that says how much is left out, once. */
  #gap(): string {
    if (this.#told) return "";
    this.#told = true;
    return this.#missing;
  }
}

/** Without the rest of a character that began before. */
function fromCharacter(bytes: Buffer): Buffer {
  let start = 0;
  while (start < 3 && (bytes[start]! & 0xc0) === 0x80) start++;
  return bytes.subarray(start);
}

async function read(file: FileHandle, from: number, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, from);
  return buffer.subarray(0, bytesRead);
}
