/** The transcript of a stored execution: the same events at the same offsets as when it ran. */
import { closeSync, openSync, readSync } from "node:fs";
import type { ExecutionRecord } from "../../contract/records.ts";
import { type StreamContent, type StreamName, Timeline, Transcript } from "../../execution/index.ts";
import type { Artifacts } from "../artifacts.ts";
import type { StoredExecution } from "../ports/store.ts";

export interface OpenTranscript {
  readonly transcript: Transcript;
  close(): void;
}

/** Bytes of a file, read where they are asked for. */
class FileContent implements StreamContent {
  readonly bytes: number;
  readonly #fd: number;

  constructor(file: string, bytes: number) {
    this.bytes = bytes;
    this.#fd = openSync(file, "r");
  }

  read(from: number, to: number): Buffer {
    const buffer = Buffer.alloc(Math.max(0, Math.min(to, this.bytes) - from));
    return buffer.subarray(0, readSync(this.#fd, buffer, 0, buffer.length, from));
  }

  close(): void {
    closeSync(this.#fd);
  }
}

class MemoryContent implements StreamContent {
  readonly #content: Buffer;

  constructor(text: string) {
    this.#content = Buffer.from(text, "utf8");
  }

  get bytes(): number {
    return this.#content.length;
  }

  read(from: number, to: number): Buffer {
    return this.#content.subarray(from, to);
  }
}

export function openStored(stored: StoredExecution, artifacts: Artifacts): OpenTranscript {
  const { record, timeline } = stored;
  const files: FileContent[] = [];
  const content = (source: StreamName): StreamContent => {
    const artifact = streamArtifact(record, source);
    if (artifact === null) return new MemoryContent(record[source]);
    const file = new FileContent(artifacts.place(artifact.sha256), artifact.bytes);
    files.push(file);
    return file;
  };
  const transcript = new Transcript({
    id: record.id,
    session: record.session,
    stdout: content("stdout"),
    stderr: content("stderr"),
    timeline: Timeline.from(timeline),
    displays: record.displays,
    inputs: record.inputs,
    record,
  });
  return {
    transcript,
    close: () => {
      for (const file of files) file.close();
    },
  };
}

/** The artifact that holds a stream's bytes, when the record's text does not. */
export function streamArtifact(
  record: ExecutionRecord,
  source: StreamName,
): ExecutionRecord["artifacts"][number] | null {
  return record.artifacts.find((artifact) => artifact.source === source) ?? null;
}
