/** What a failure of the file system is in the error table; workers, which do not load that, use this too. */
import type { ErrorCode } from "../contract/errors.ts";

/** Null for all but what concerns the storage as a whole. */
export function storageCode(error: unknown): ErrorCode | null {
  switch ((error as NodeJS.ErrnoException | null)?.code) {
    case "ENOSPC":
    case "EDQUOT":
      return "storage_full";
    case "EROFS":
    case "EACCES":
    case "EPERM":
      return "storage_read_only";
    case "EIO":
    case "EMFILE":
    case "ENFILE":
      return "storage_failed";
    default:
      return null;
  }
}
