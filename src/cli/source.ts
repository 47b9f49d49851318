/** Where the code of `run` comes from. */
import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { ExecuteCodeError } from "../contract/errors.ts";
import { usageError } from "./terminal.ts";

/** Whether the code is read from standard input. */
export function readsStandardInput(file: string | undefined, code: string | undefined): boolean {
  return code === undefined && (file === undefined || file === "-");
}

/** The code from `-c`, from a file, or (file `-`, or none and no terminal) from standard input. */
export async function readCode(file: string | undefined, code: string | undefined): Promise<string> {
  if (code !== undefined) {
    if (file !== undefined) throw usageError("Give a file or -c CODE, not both.");
    return code;
  }
  if (file === undefined && process.stdin.isTTY) {
    throw usageError("Give a file, -c CODE, or the code on standard input.");
  }
  if (file === undefined || readsStandardInput(file, code))
    return decode(await readStandardInput(), "standard input");
  return decode(await readSource(file), file);
}

async function readSource(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : code;
    throw usageError(`${file} cannot be read: ${reason}.`, "Give the path of a readable file.");
  }
}

async function readStandardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** UTF-8 as text, without a byte order mark. Fails with invalid_encoding, which names the first wrong byte. */
export function decode(bytes: Buffer, name: string): string {
  if (!isUtf8(bytes)) {
    const offset = firstInvalidByte(bytes);
    const hex = bytes[offset]?.toString(16).padStart(2, "0");
    throw new ExecuteCodeError("invalid_encoding", {
      message: `${name} is not valid UTF-8: byte ${offset} is 0x${hex}.`,
      details: { offset },
    });
  }
  const text = bytes.toString();
  return text.startsWith("\ufeff") ? text.slice(1) : text;
}

/** Offset of the first byte at which a character begins that is not valid UTF-8; -1 when there is none. */
export function firstInvalidByte(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at]!;
    const length =
      lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length === 0 || !isUtf8(bytes.subarray(at, at + length)) || at + length > bytes.length) return at;
    at += length;
  }
  return -1;
}
