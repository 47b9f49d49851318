/** What an isolated session's processes are granted. */
import { totalmem } from "node:os";
import type { ResourceLimits } from "../../contract/frames.ts";

const GIB = 1024 ** 3;

export const RESOURCE_LIMITS: ResourceLimits = {
  memory_bytes: Math.min(8 * GIB, Math.floor(totalmem() / 2)),
  processes: 512,
  files: 4_096,
  file_bytes: 16 * GIB,
  nice: 5,
};
