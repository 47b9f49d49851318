/** Texts with their checksum before them: eight digits and a space. */
import { crc32 } from "node:zlib";

const DIGITS = 8;

export function withChecksum(text: string): string {
  return `${checksum(text)} ${text}`;
}

/** The text; null when it is not as it was written. */
export function checked(line: string): string | null {
  const text = line.slice(DIGITS + 1);
  return line.slice(0, DIGITS + 1) === `${checksum(text)} ` ? text : null;
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(DIGITS, "0");
}
