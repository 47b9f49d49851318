/** Failures of the file system, as rows of the error table. */
import { ExecuteCodeError } from "../contract/errors.ts";
import { storageCode } from "./storage-code.ts";

export function storageError(error: unknown): unknown {
  const code = storageCode(error);
  if (code === null) return error;
  const said = code === "storage_failed" ? { message: (error as Error).message } : {};
  return new ExecuteCodeError(code, { ...said, cause: error });
}

export function isStorageError(error: unknown): boolean {
  return error instanceof ExecuteCodeError && error.code.startsWith("storage_");
}
