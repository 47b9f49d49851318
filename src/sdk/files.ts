/** Content of files on its way between this program and a session's workspace. */
import { randomUUID } from "node:crypto";
import { type FileHandle, lstat, open, rename, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ExecuteCodeError } from "../contract/errors.ts";
import { chunksOf, type Streamed } from "./transport.ts";

/** What is put into a file: text, as UTF-8; bytes; or bytes as they come, such as those of a read stream. */
export type FileContent = string | Uint8Array | AsyncIterable<Uint8Array>;

export interface DownloadOptions {
  /** Fails with file_too_large when the file has more bytes than this. */
  readonly maxBytes?: number | undefined;
}

export interface DownloadToOptions extends DownloadOptions {
  /** A file of this machine, which is there whole or not at all; or a stream, which is not ended. */
  readonly to: string | Writable;
  /** Whether a file that there is may be replaced. Default: that fails with invalid_request. */
  readonly replace?: boolean | undefined;
}

/** Content as it is sent. */
export class Outgoing {
  readonly #content: Uint8Array | AsyncIterable<Uint8Array>;
  #begun = false;

  constructor(content: FileContent) {
    this.#content = typeof content === "string" ? Buffer.from(content) : content;
  }

  /** Whether it can be sent more than once. */
  get repeatable(): boolean {
    return this.#content instanceof Uint8Array;
  }

  /** It was sent, or a part of it, and cannot be sent again. */
  get spent(): boolean {
    return this.#begun && !this.repeatable;
  }

  get body(): Streamed {
    return {
      bytes: this.#content instanceof Uint8Array ? this.#content.length : null,
      chunks: this.#chunks(),
    };
  }

  async *#chunks(): AsyncGenerator<Uint8Array, void> {
    this.#begun = true;
    if (this.#content instanceof Uint8Array) yield this.#content;
    else yield* this.#content;
  }
}

/** Reads an answer into a file or stream, and answers how many bytes it had. Fails with ConnectionError. */
export async function receive(response: IncomingMessage, options: DownloadToOptions): Promise<number> {
  const { to, replace = false } = options;
  if (typeof to !== "string") return await writeTo(to, response);
  const place = replace ? `${to}.${randomUUID()}.part` : to;
  const file = await create(to, place, replace);
  try {
    const bytes = await fill(file, to, response);
    await file.close();
    if (replace) await rename(place, to).catch((error: unknown) => Promise.reject(unwritable(to, error)));
    return bytes;
  } catch (error) {
    await file.close();
    await rm(place, { force: true });
    throw error;
  }
}

async function create(to: string, place: string, replace: boolean): Promise<FileHandle> {
  try {
    if (replace) await checkReplaceable(to);
    return await open(place, "wx");
  } catch (error) {
    throw unwritable(to, error);
  }
}

/** A device, a folder or a link would not be written to, but be gone. */
async function checkReplaceable(to: string): Promise<void> {
  const found = await lstat(to).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (found === null || found.isFile()) return;
  throw new ExecuteCodeError("invalid_request", {
    message: `${to} is no regular file, and is not replaced.`,
    remedy: "Choose another name, or let the content be written to a stream.",
  });
}

async function fill(file: FileHandle, to: string, response: IncomingMessage): Promise<number> {
  let bytes = 0;
  for await (const chunk of chunksOf(response)) {
    await file.appendFile(chunk).catch((error: unknown) => Promise.reject(unwritable(to, error)));
    bytes += chunk.length;
  }
  return bytes;
}

async function writeTo(to: Writable, response: IncomingMessage): Promise<number> {
  let bytes = 0;
  const counted = async function* (): AsyncGenerator<Buffer, void> {
    for await (const chunk of chunksOf(response)) {
      bytes += chunk.length;
      yield chunk;
    }
  };
  await pipeline(counted, to, { end: false });
  return bytes;
}

function unwritable(file: string, cause: unknown): unknown {
  if (cause instanceof ExecuteCodeError) return cause;
  const exists = (cause as NodeJS.ErrnoException).code === "EEXIST";
  return new ExecuteCodeError("invalid_request", {
    message: exists ? `${file} exists.` : `${file} cannot be written: ${(cause as Error).message}.`,
    remedy: exists ? "Choose another name, or have it replaced." : "Choose another place.",
    cause,
  });
}
