/** Variables of two sessions: compared, and brought from one into the other. */
import { closeSync } from "node:fs";
import type { MergeBody } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { VariableInfo } from "../../contract/records.ts";
import type {
  CaptureManifest,
  Difference,
  Merge,
  MergeConflict,
  VariableDifference,
} from "../../contract/time-travel.ts";
import type { CaptureReceiver } from "../../execution/index.ts";
import type { Captures } from "../captures/captures.ts";
import type { LineExecution, Store } from "../ports/store.ts";
import type { Session } from "./session.ts";

/** How long a look at variables waits for what the session is doing, milliseconds. */
const WAIT_MS = 5_000;

/** Takes nothing: the digests in the manifest are all that is wanted. */
const NOTHING: CaptureReceiver = {
  wanted: async () => [],
  take: async () => {},
  release: async (fifo) => closeSync(fifo),
};

/** Throws `session_busy`, `capture_failed`, `kernel_start_failed`. */
export async function diff(store: Store, here: Session, there: Session): Promise<Difference> {
  const [one, other] = await Promise.all([lookAt(here), lookAt(there)]);
  const names = [...new Set([...one.variables.keys(), ...other.variables.keys()])];
  const { ancestor } = await sinceAncestor(store, here, there);
  return {
    here: here.name,
    there: there.name,
    ancestor,
    variables: names.map((name) => compare(name, one, other)),
  };
}

interface Looked {
  readonly variables: ReadonlyMap<string, VariableInfo>;
  /** What variables are like, by name; one that cannot be captured is not there. */
  readonly digests: ReadonlyMap<string, string>;
}

async function lookAt(session: Session): Promise<Looked> {
  const variables = await session.variables(WAIT_MS);
  const manifest = variables.length === 0 ? null : await session.line.describe(NOTHING, {});
  const digests = new Map<string, string>();
  for (const { name, likeness } of manifest?.variables ?? []) {
    if (typeof likeness === "string") digests.set(name, likeness);
  }
  return { variables: new Map(variables.map((one) => [one.name, one])), digests };
}

function compare(name: string, one: Looked, other: Looked): VariableDifference {
  const here = shown(one.variables.get(name));
  const there = shown(other.variables.get(name));
  if (there === null) return { name, status: "only_here", here, there };
  if (here === null) return { name, status: "only_there", here, there };
  const [mine, theirs] = [one.digests.get(name), other.digests.get(name)];
  if (mine !== undefined && mine === theirs) return { name, status: "same", here, there };
  const looksSame = here.type === there.type && here.preview === there.preview;
  const known = mine !== undefined && theirs !== undefined;
  return { name, status: known || !looksSame ? "changed" : "unknown", here, there };
}

function shown(variable: VariableInfo | undefined): { type: string; preview: string } | null {
  return variable === undefined ? null : { type: variable.type, preview: variable.preview };
}

/** The last execution that two sessions have in common, and those of the first one after it. */
async function sinceAncestor(
  store: Store,
  session: Session,
  other: Session,
): Promise<{ ancestor: string | null; since: LineExecution[]; related: boolean }> {
  const [line, theirs] = await Promise.all([store.line(session.info().head), store.line(other.info().head)]);
  let common = 0;
  while (common < line.length && line[common]?.id === theirs[common]?.id) common++;
  const forked = [session, other].some((one) => one.info().forked_from !== null);
  return { ancestor: line[common - 1]?.id ?? null, since: line.slice(common), related: common > 0 || forked };
}

/**
 * Brings variables of one session into another. Throws `merge_conflict`, `unknown_variable`, and as `diff`; then
 * nothing has changed.
 */
export async function merge(
  store: Store,
  captures: Captures,
  into: Session,
  from: Session,
  { names, on_conflict, client }: MergeBody,
): Promise<Merge> {
  if (into === from) {
    throw new ExecuteCodeError("invalid_request", {
      message: "A session cannot be merged into itself.",
      remedy: "Name another session to take the variables from.",
    });
  }
  const conflicts = await conflictsOf(store, into, from, names);
  if (conflicts.length > 0 && on_conflict === "refuse") {
    throw new ExecuteCodeError("merge_conflict", {
      message: conflicts.map(({ name, reason }) => `${name}: ${reason}`).join("; "),
      details: { conflicts },
    });
  }
  const kept = on_conflict === "keep" ? new Set(conflicts.map(({ name }) => name)) : new Set<string>();
  const wanted = names.filter((name) => !kept.has(name));
  const incoming = captures.incoming();
  try {
    const manifest = await from.line.describe(incoming, { only: wanted });
    checkThere(from, wanted, manifest);
    const { variables, classes, error } = await into.merge(manifest, wanted, incoming, {
      from: from.name,
      client,
    });
    if (error !== null) throw new ExecuteCodeError("capture_failed", { message: error });
    const own = [...kept].map((name) => ({ name, outcome: "kept" as const, reason: null }));
    return { session: into.info(), from: from.name, variables: [...variables, ...own], conflicts, classes };
  } finally {
    await captures.discard(incoming);
  }
}

/** Throws `unknown_variable` or `capture_failed`. */
function checkThere(from: Session, names: readonly string[], { variables }: CaptureManifest): void {
  const found = new Map(variables.map((one) => [one.name, one]));
  const missing = names.filter((name) => !found.has(name));
  if (missing.length > 0) {
    throw new ExecuteCodeError("unknown_variable", {
      message: `The session ${from.name} has no variable ${missing.map((name) => `\`${name}\``).join(", ")}.`,
    });
  }
  const refused = names.filter((name) => found.get(name)?.status === "skipped");
  if (refused.length > 0) {
    throw new ExecuteCodeError("capture_failed", {
      message: refused.map((name) => `\`${name}\` cannot be copied: ${found.get(name)?.reason}`).join("; "),
      remedy: "Merge the others, and make these anew in the session.",
    });
  }
}

/** Of two branches of one session: what the target has changed itself since; of strangers: what both have. */
async function conflictsOf(
  store: Store,
  into: Session,
  from: Session,
  names: readonly string[],
): Promise<MergeConflict[]> {
  const { since, related } = await sinceAncestor(store, into, from);
  const there = new Set((await into.variables(WAIT_MS)).map(({ name }) => name));
  return names.flatMap((name) => {
    const changed = since.findLast(({ variables }) => changes(variables, name));
    if (changed !== undefined) {
      const gone = changed.variables.deleted.includes(name);
      return [{ name, reason: `${changed.id} of ${into.name} has ${gone ? "deleted" : "changed"} it` }];
    }
    if (!related && there.has(name)) return [{ name, reason: `${into.name} has a variable of this name` }];
    return [];
  });
}

function changes({ added, changed, deleted }: LineExecution["variables"], name: string): boolean {
  return deleted.includes(name) || [...added, ...changed].some((one) => one.name === name);
}
