/** Whether two executions gave the same, as far as their records keep what they gave. */
import { isDeepStrictEqual } from "node:util";
import { LIMITS } from "../../contract/limits.ts";
import type { Artifact, ExecutionError, ExecutionRecord, MimeBundle } from "../../contract/records.ts";

/** What differs from one run to the next whatever the code does: addresses of objects, and ids of executions. */
const ADDRESSES = /\bat 0x[0-9a-f]{5,16}\b/gi;
const EXECUTIONS = /\bexec_[0-9a-hjkmnp-tv-z]{26}\b/g;
/** What stands in a text where the kernel has left something out, and no artifact has it. */
const LEFT_OUT =
  /… \[the rest is left out(: \d+ of \d+ characters)?\]$|\[\S+ of \d+ characters is too large to keep\]$/;
const ERROR_LEFT_OUT = /\n… \[\d+ characters are left out\] …\n/;

/** `same` is null when what was kept is the same, and something was cut: `reason` says what. */
export function compare(
  one: ExecutionRecord,
  other: ExecutionRecord,
): { same: boolean | null; reason: string | null } {
  if (!isDeepStrictEqual(given(one), given(other))) return { same: false, reason: null };
  const cut = cutOf(one);
  if (cut.length === 0) return { same: true, reason: null };
  return { same: null, reason: `what was kept is the same, but not all was kept: ${cut.join(", ")}` };
}

function given(record: ExecutionRecord): unknown {
  const { status, stdout, stderr, result, error, displays, artifacts, truncated, features } = record;
  const names = new Map<string | null, number>();
  return {
    status,
    stdout: masked(stdout),
    stderr: masked(stderr),
    truncated,
    result: result === null ? null : [masked(result.text), bundle(result.mime)],
    displays: displays.map(({ display_id, update, mime }) => {
      // An id says no more than which displays belong together.
      if (!names.has(display_id)) names.set(display_id, names.size);
      return { named: display_id !== null, display: names.get(display_id), update, mime: bundle(mime) };
    }),
    error: error === null ? null : [error.type, masked(error.message), features.error_fingerprint],
    artifacts: artifacts.map(content).sort(),
  };
}

function masked(text: string): string {
  return text.replace(ADDRESSES, "at 0x…").replace(EXECUTIONS, "exec_…");
}

function bundle(mime: MimeBundle): string[] {
  return Object.entries(mime)
    .map(([type, value]) => masked(JSON.stringify([type, value])))
    .sort();
}

function content({ source, display, mime, bytes, sha256 }: Artifact): string {
  return JSON.stringify([source, display, mime, bytes, sha256]);
}

/** Parts of an execution's output that nothing has kept. */
function cutOf(record: ExecutionRecord): string[] {
  const cut: string[] = [];
  for (const stream of ["stdout", "stderr"] as const) {
    const bytes = record.truncated[`${stream}_bytes`];
    // The text leaves out what the artifact has; bytes beyond these were dropped.
    if (bytes > 0 && !record[stream].includes(`\n… ${bytes} bytes left out …\n`)) cut.push(stream);
  }
  if (record.result !== null && isCut(record.result.text, record.result.mime)) cut.push("the result");
  if (record.displays.length >= LIMITS.displays || record.displays.some(({ mime }) => isCut("", mime)))
    cut.push("displays");
  if (record.error !== null && isErrorCut(record.error)) cut.push("the error");
  return cut;
}

function isCut(text: string, mime: MimeBundle): boolean {
  const plain = mime["text/plain"];
  return LEFT_OUT.test(text) || (typeof plain === "string" && LEFT_OUT.test(plain));
}

function isErrorCut({ message }: ExecutionError): boolean {
  return ERROR_LEFT_OUT.test(message);
}
