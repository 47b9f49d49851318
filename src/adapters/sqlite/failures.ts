/** What a failure of SQLite, or of the files that it works on, is to others. */
import { accessSync, constants } from "node:fs";
import path from "node:path";
import type { ErrorCode } from "../../contract/errors.ts";
import { type Failure, Refusal } from "../../memory/ports/failure.ts";

/** SQLite's primary result codes that mean something in particular here. */
const SQLITE = { readOnly: 8, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notDatabase: 26 };

interface NativeError extends Error {
  readonly code?: string;
  /** SQLite's extended result code. */
  readonly errcode?: number;
}

/** SQLite's primary result code; 0 when the error is not SQLite's. */
function resultCode(error: NativeError): number {
  return (error.errcode ?? 0) & 0xff;
}

/** The row of the error table for anything thrown while working on `file`. */
export function failureOf(error: unknown, file: string): Failure {
  if (error instanceof Refusal) return error.failure;
  if (!(error instanceof Error)) return { code: "storage_failed", details: { reason: String(error) } };
  const native: NativeError = error;
  const details = {
    reason: native.message,
    file,
    ...(native.errcode === undefined ? {} : { sqlite: native.errcode }),
  };
  return { code: codeOf(native, file), details };
}

function codeOf(error: NativeError, file: string): ErrorCode {
  if (isDamage(error)) return "database_damaged";
  switch (resultCode(error)) {
    case SQLITE.full:
      return "storage_full";
    case SQLITE.readOnly:
      return "storage_read_only";
    case SQLITE.cannotOpen:
      return writable(path.dirname(file)) ? "storage_failed" : "storage_read_only";
    default:
  }
  if (error.code === "ENOSPC" || error.code === "EDQUOT") return "storage_full";
  if (error.code === "EROFS" || error.code === "EACCES" || error.code === "EPERM") return "storage_read_only";
  return "storage_failed";
}

/** True when the connection itself may be at fault, so that it is opened anew before it is used again. */
export function connectionSuspect(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = resultCode(error);
  return code === SQLITE.readOnly || code === SQLITE.ioError || code === SQLITE.cannotOpen;
}

/** True when what was read is not what SQLite wrote. */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = resultCode(error);
  return code === SQLITE.corrupt || code === SQLITE.notDatabase;
}

function writable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
