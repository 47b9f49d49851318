/** What a restore needs to know of a session's line, and what is told of it. */
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { RestoreDigest, RestoredVariable } from "../../contract/records.ts";
import type { PastExecution, RestoreReport } from "../../contract/time-travel.ts";
import type { Kernels, Placed } from "../../execution/index.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Captures } from "../captures/captures.ts";
import type { LineExecution, Store, StoredCapture, StoredSession } from "../ports/store.ts";

const TOLD = 200;
const FORGOTTEN = {
  kind: "unknown" as const,
  target: "its code is too far back in a long history",
  count: 1,
};

/** What sessions are kept with. */
export interface Keeping {
  readonly store: Store;
  readonly kernels: Kernels;
  readonly captures: Captures;
  readonly log: Logger;
}

export type Filled = Pick<RestoreReport, "capture" | "variables" | "replayed">;

/**
 * Makes a fresh kernel's variables those after an execution: from the capture that is wanted, or the latest of its line;
 * and by replay, with `effects` also of executions that did something outside. Throws `kernel_gone` when it took too long, or ended the kernel.
 */
export async function fill(
  { store, kernels, captures }: Keeping,
  { id, isolation }: Pick<StoredSession, "id" | "isolation">,
  placed: Placed,
  execution: string | null,
  wanted: StoredCapture | null,
  effects = false,
): Promise<Filled> {
  const line = await store.line(execution);
  const capture = wanted ?? (await newestCapture(captures, id, line));
  const { owner } = kernels.isolation.enclosure(isolation);
  const timer = setTimeout(() => placed.kernel.kill(), LIMITS.restoreMs);
  try {
    const request = {
      manifest: capture?.manifest ?? null,
      history: pastOf(line),
      captured: capture?.execution ?? null,
      effects,
    };
    const { variables, replayed, error } = await placed.restore(request, async (folder) => {
      if (capture !== null) await captures.provide(capture.manifest, folder, owner);
    });
    if (error !== null) throw new ExecuteCodeError("internal", { message: error });
    return { capture: capture?.id ?? null, variables, replayed };
  } finally {
    clearTimeout(timer);
  }
}

/** The capture of the latest state on the line, also of a session that this one was forked from. */
async function newestCapture(
  captures: Captures,
  session: string,
  line: readonly LineExecution[],
): Promise<StoredCapture | null> {
  const places = new Map(line.map(({ id }, index) => [id, index]));
  const sessions = new Set([session, ...line.map(({ session_id }) => session_id)]);
  const all = (await Promise.all([...sessions].map((one) => captures.list(one)))).flat();
  let newest: StoredCapture | null = null;
  let place = -1;
  for (const capture of all) {
    const at = capture.execution === null ? -1 : places.get(capture.execution);
    if (at === undefined || at < place || (at === place && newest !== null)) continue;
    newest = capture;
    place = at;
  }
  return newest;
}

/** The line as a kernel is told it: the newest of it, as much as a frame carries. */
function pastOf(line: readonly LineExecution[]): PastExecution[] {
  const past: PastExecution[] = [];
  let room = LIMITS.frameBytes / 2;
  for (const { id, code, status, started_at, variables, effects } of line.toReversed()) {
    const one = {
      id,
      code,
      status,
      started_at,
      added: variables.added.map(({ name }) => name),
      changed: variables.changed.map(({ name }) => name),
      deleted: variables.deleted,
      effects: [...effects],
    };
    room -= Buffer.byteLength(JSON.stringify(one));
    // What came long before is known by its variables only: what it made and no capture has is told as lost.
    past.push(room < 0 ? { ...one, code: "", effects: [FORGOTTEN] } : one);
  }
  return past.reverse();
}

/** The variables that there were at the line's head. */
export function namesOf(line: readonly LineExecution[]): string[] {
  const names = new Set<string>();
  for (const { variables } of line) {
    for (const { name } of [...variables.added, ...variables.changed]) names.add(name);
    for (const name of variables.deleted) names.delete(name);
  }
  return [...names];
}

export function digestOfRestore(variables: readonly RestoredVariable[]): RestoreDigest {
  const of = (outcome: RestoredVariable["outcome"]): RestoredVariable[] =>
    variables.filter((one) => one.outcome === outcome);
  return {
    restored: of("restored").length,
    altered: of("restored")
      .filter(({ reason }) => reason !== null)
      .slice(0, TOLD),
    recomputed: of("recomputed").slice(0, TOLD),
    lost: of("lost").slice(0, TOLD),
  };
}
