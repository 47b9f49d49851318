/** A name for a kind of error: equal for the same mistake at the same place, whatever values it met. */
import { createHash } from "node:crypto";
import type { ExecutionError } from "../../contract/records.ts";

/** Replaces what varies from one occurrence to the next: addresses, numbers, and quoted values. */
export function parameterise(message: string): string {
  return message
    .slice(0, 2_000)
    .replace(/0x[0-9a-f]+/gi, "<address>")
    .replace(/'[^'\n]{0,400}'|"[^"\n]{0,400}"/g, "<value>")
    .replace(/[-+]?\d+(?:[._]\d+)*(?:e[-+]?\d+)?/gi, "<number>")
    .replace(/\s+/g, " ")
    .trim();
}

/** The first 16 hexadecimal digits of the SHA-256 over type, in-session frames and parameterised message. */
export function errorFingerprint(error: Pick<ExecutionError, "type" | "message" | "frames">): string {
  const hash = createHash("sha256");
  hash.update(error.type);
  for (const frame of error.frames) hash.update(`\n${frame.function}\u0000${frame.text.trim()}`);
  hash.update(`\n\n${parameterise(error.message)}`);
  return hash.digest("hex").slice(0, 16);
}
