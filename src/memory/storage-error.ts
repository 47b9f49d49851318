/** Failures of the file system, as rows of the error table. */
import { ExecuteCodeError } from "../contract/errors.ts";

export function storageError(error: unknown): unknown {
  switch ((error as NodeJS.ErrnoException | null)?.code) {
    case "ENOSPC":
    case "EDQUOT":
      return new ExecuteCodeError("storage_full", { cause: error });
    case "EROFS":
    case "EACCES":
    case "EPERM":
      return new ExecuteCodeError("storage_read_only", { cause: error });
    case "EIO":
    case "EMFILE":
    case "ENFILE":
      return new ExecuteCodeError("storage_failed", { message: (error as Error).message, cause: error });
    default:
      return error;
  }
}

export function isStorageError(error: unknown): boolean {
  return error instanceof ExecuteCodeError && error.code.startsWith("storage_");
}
