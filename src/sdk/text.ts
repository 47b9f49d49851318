/** The few forms of text that every face reads and writes alike. */
import type { ExecutionRecord, RestoreDigest, Unsafe } from "../contract/records.ts";

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `500ms`, `30s`, `1.5m`, `2h`, `7d`, or a bare number of seconds, as milliseconds; null for anything else. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d)?$/.exec(text.trim());
  if (match === null) return null;
  const milliseconds = Math.round(Number(match[1]) * UNITS[(match[2] ?? "s") as keyof typeof UNITS]);
  return Number.isSafeInteger(milliseconds) ? milliseconds : null;
}

/** An age such as `2h`, or an ISO 8601 date or instant, as an ISO 8601 instant; null for anything else. */
export function parseInstant(text: string, now: number = Date.now()): string | null {
  const age = parseDuration(text);
  const time = age === null ? (/^\d{4}-\d\d/.test(text.trim()) ? Date.parse(text) : Number.NaN) : now - age;
  return time >= EARLIEST && time <= LATEST ? new Date(time).toISOString() : null;
}

/** Years of four digits. */
const EARLIEST = Date.parse("0000-01-01T00:00:00Z");
const LATEST = Date.parse("9999-12-31T23:59:59.999Z");

/** `42 ms`, `1.5 s`, `2 m 5 s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(Math.floor(milliseconds / 100) / 10).toString()} s`;
  const seconds = Math.floor(milliseconds / 1_000);
  return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
}

const SIZES: Readonly<Record<string, number>> = { "": 0, k: 10, m: 20, g: 30, t: 40 };

/** `512MiB`, `2G`, `100 MB` (10⁶), or a bare number of bytes, as bytes; null for anything else. */
export function parseBytes(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?$/i.exec(text.trim());
  if (match === null) return null;
  const [, number, prefix, unit] = match;
  const power = SIZES[prefix!.toLowerCase()]!;
  // `MB` is a million bytes; `M` and `MiB` are 2²⁰.
  const decimal = unit?.toLowerCase() === "b";
  const bytes = Math.round(Number(number) * (decimal ? 1_000 ** (power / 10) : 2 ** power));
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** `1.5 GiB`, `200 MiB`, `12 bytes`. */
export function formatBytes(bytes: number): string {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  if (bytes < 1_024) return `${bytes} bytes`;
  const step = Math.min(Math.floor(Math.log2(bytes) / 10), units.length);
  return `${Number((bytes / 1_024 ** step).toFixed(1))} ${units[step - 1]}`;
}

/** At most six significant digits, but whole numbers in full. */
export function formatNumber(number: number): string {
  return String(Number.isInteger(number) ? number : Number(number.toPrecision(6)));
}

/** `the child process 12 (p)`: what it is, and the variable that holds it. */
export function nameUnsafe({ what, variable }: Unsafe): string {
  return variable === null ? what : `${what} (${variable})`;
}

/** What a restore brought back, perhaps not as it was: each with its reason. */
export function doubtful(restore: RestoreDigest | null): string[] {
  return [...(restore?.altered ?? []), ...(restore?.recomputed ?? [])].flatMap(({ name, reason }) =>
    reason === null ? [] : [`${name} (${reason})`],
  );
}

/** Of something that the session had before it went back. */
export function endedNote(one: Unsafe): string {
  return `What was left had ${nameUnsafe(one)}, which is gone.`;
}

/** `exec_… ok 42 ms session=main rev=17 state=retained`, and the isolation where it is not the sandbox. */
export function statusLine(record: ExecutionRecord): string {
  const parts = [
    record.id,
    record.status,
    `${Math.round(record.duration_ms)} ms`,
    `session=${record.session}`,
    `rev=${record.revision}`,
    `state=${record.state}`,
  ];
  if (record.rolled_back !== null) parts.push(`rolled_back=${record.rolled_back.to ?? "beginning"}`);
  if (record.isolation !== "sandbox") parts.push(`isolation=${record.isolation}`);
  return parts.join(" ");
}

const TOLD = 10;

function variables(count: number): string {
  return count === 1 ? "1 variable was" : `${count} variables were`;
}

/** What became of the session's variables, where they did not simply stay: sentences for people and models. */
export function memoryNotes({ state, rolled_back: rolledBack, restore }: ExecutionRecord): string[] {
  const notes: string[] = [];
  if (restore !== null) {
    const { restored, recomputed, lost } = restore;
    const again = recomputed.length === 0 ? "" : `, ${recomputed.length} computed again`;
    notes.push(`The session had a new kernel: ${variables(restored)} restored${again}, ${lost.length} lost.`);
    for (const { name, reason } of lost.slice(0, TOLD))
      notes.push(`Lost: ${name} (${reason ?? "not captured"}).`);
    if (lost.length > TOLD) notes.push(`… and ${lost.length - TOLD} more.`);
    const doubts = doubtful(restore);
    for (const one of doubts.slice(0, TOLD)) notes.push(`Perhaps not as it was: ${one}.`);
    if (doubts.length > TOLD) notes.push(`… and ${doubts.length - TOLD} more.`);
  }
  if (rolledBack !== null) {
    const { to, files, truncated, ended } = rolledBack;
    notes.push(`The session's variables are again as after ${to ?? "its beginning"}.`);
    const changed = files.map(({ path }) => path);
    const listed = changed.slice(0, TOLD).join(", ");
    const more = truncated || changed.length > TOLD ? ", and more" : "";
    if (changed.length > 0) notes.push(`Files that it changed stay as they are: ${listed}${more}.`);
    for (const one of ended?.slice(0, TOLD) ?? []) notes.push(endedNote(one));
    if (ended !== null && ended.length > TOLD) notes.push(`… and ${ended.length - TOLD} more.`);
  } else if (state === "lost" && restore === null) {
    notes.push("The session's variables are lost; its next use brings back what can be.");
  }
  return notes;
}
