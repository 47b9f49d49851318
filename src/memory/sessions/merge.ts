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
import { namesIn } from "./dependence.ts";
import { isMerge } from "./merge-effect.ts";
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

type Shown = Pick<VariableInfo, "type" | "preview">;

/** Also tells what the variable is like: by itself (`likeness`), and together with those that it shares objects with. */
type Described = CaptureManifest["variables"][number];

interface Looked {
  readonly variables: ReadonlyMap<string, Shown>;
  readonly described: ReadonlyMap<string, Described>;
}

async function lookAt(session: Session): Promise<Looked> {
  const listed = await session.variables(WAIT_MS);
  const variables = new Map<string, Shown>(
    listed.map(({ name, type, preview }) => [name, { type, preview }]),
  );
  if (listed.length === 0) return { variables, described: new Map() };
  let manifest = await session.line.describe(NOTHING, { only: [...variables.keys()] });
  // A list of variables has an end; the manifest names all.
  const beyond = manifest.variables.filter(
    ({ name, type }) => !variables.has(name) && !name.startsWith("_") && type !== "module",
  );
  if (beyond.length > 0) {
    for (const { name, type } of beyond) variables.set(name, { type, preview: "" });
    manifest = await session.line.describe(NOTHING, { only: [...variables.keys()] });
  }
  return { variables, described: new Map(manifest.variables.map((one) => [one.name, one])) };
}

function compare(name: string, one: Looked, other: Looked): VariableDifference {
  const here = one.variables.get(name) ?? null;
  const there = other.variables.get(name) ?? null;
  if (there === null) return { name, status: "only_here", here, there };
  if (here === null) return { name, status: "only_there", here, there };
  const [mine, theirs] = [one.described.get(name), other.described.get(name)];
  if (areAlike(mine, theirs)) return { name, status: "same", here, there };
  const looksSame = here.type === there.type && here.preview === there.preview;
  const known = areComparable(mine?.likeness, theirs?.likeness);
  return { name, status: known || !looksSame ? "changed" : "unknown", here, there };
}

/** Two that are the same together with what they share are the same also where there was no time for each by itself. */
function areAlike(one: Described | undefined, other: Described | undefined): boolean {
  const same = (mine: unknown, theirs: unknown): boolean => typeof mine === "string" && mine === theirs;
  return same(one?.likeness, other?.likeness) || same(one?.likeness_together, other?.likeness_together);
}

/** A digest of something that needs definitions names the version of Python that compiled them. */
function areComparable(one: unknown, other: unknown): boolean {
  if (typeof one !== "string" || typeof other !== "string") return false;
  const [, here] = one.split("@");
  const [, there] = other.split("@");
  return here === undefined || there === undefined || here === there;
}

interface Related {
  /** The last execution that two sessions have in common. */
  readonly ancestor: string | null;
  /** Those of the first one after it. */
  readonly since: readonly LineExecution[];
  readonly related: boolean;
}

async function sinceAncestor(store: Store, session: Session, other: Session): Promise<Related> {
  const [line, theirs] = await Promise.all([store.line(session.info().head), store.line(other.info().head)]);
  let common = 0;
  while (common < line.length && line[common]?.id === theirs[common]?.id) common++;
  const forked = [session, other].some((one) => one.info().forked_from !== null);
  return { ancestor: line[common - 1]?.id ?? null, since: line.slice(common), related: common > 0 || forked };
}

/**
 * Brings variables of one session into another. Throws `merge_conflict`, `unknown_variable`, `invalid_request`, and
 * as `diff`; then nothing has changed.
 */
export async function merge(
  store: Store,
  captures: Captures,
  into: Session,
  from: Session,
  { names: given, on_conflict, client }: MergeBody,
): Promise<Merge> {
  const names = [...new Set(given)];
  if (into === from) {
    throw new ExecuteCodeError("invalid_request", {
      message: "A session cannot be merged into itself.",
      remedy: "Name another session to take the variables from.",
    });
  }
  const incoming = captures.incoming();
  try {
    const manifest = await from.line.describe(incoming, { only: names });
    checkNamed(from, names, manifest);
    const conflicts = await conflictsOf(store, into, from, names, manifest);
    if (conflicts.length > 0 && on_conflict === "refuse") {
      throw new ExecuteCodeError("merge_conflict", {
        message: conflicts.map(({ name, reason }) => `${name}: ${reason}`).join("; "),
        details: { conflicts },
      });
    }
    const kept = new Set(on_conflict === "keep" ? conflicts.map(({ name }) => name) : []);
    const own = [...kept].map((name) => ({ name, outcome: "kept" as const, reason: null }));
    const wanted = names.filter((name) => !kept.has(name));
    if (wanted.length === 0) {
      return { session: into.info(), from: from.name, variables: own, conflicts, classes: [] };
    }
    checkCopied(into, wanted, manifest);
    const { variables, classes, error } = await into.merge(manifest, wanted, incoming, {
      from: from.name,
      client,
    });
    if (error !== null) throw new ExecuteCodeError("capture_failed", { message: error });
    return { session: into.info(), from: from.name, variables: [...variables, ...own], conflicts, classes };
  } finally {
    await captures.discard(incoming);
  }
}

/** Throws `unknown_variable`. */
function checkNamed(from: Session, names: readonly string[], { variables }: CaptureManifest): void {
  const found = new Set(variables.map(({ name }) => name));
  const missing = names.filter((name) => !found.has(name));
  if (missing.length === 0) return;
  throw new ExecuteCodeError("unknown_variable", {
    message: `The session ${from.name} has no variable ${missing.map((name) => `\`${name}\``).join(", ")}.`,
  });
}

/** Throws `invalid_request` for what no capture can hold. */
function checkCopied(into: Session, names: readonly string[], { variables }: CaptureManifest): void {
  const refused = variables.filter(({ name, status }) => names.includes(name) && status === "skipped");
  if (refused.length === 0) return;
  throw new ExecuteCodeError("invalid_request", {
    message: refused.map(({ name, reason }) => `\`${name}\` cannot be copied: ${reason}`).join("; "),
    remedy: `Merge the others, and make these anew by code in the session ${into.name}.`,
  });
}

/**
 * Of two branches of one session: what the target has changed itself since; of strangers: what both have. What is the
 * same in both is none, nor is what came from the same session by an earlier merge and has not been changed since.
 */
async function conflictsOf(
  store: Store,
  into: Session,
  from: Session,
  names: readonly string[],
  manifest: CaptureManifest,
): Promise<MergeConflict[]> {
  const { ancestor, since, related } = await sinceAncestor(store, into, from);
  const there = new Map(manifest.variables.map((one) => [one.name, one]));
  const untold: string[] = [];
  const suspects = names.flatMap((name) => {
    // Records tell nothing of private names and of modules.
    const recorded = !name.startsWith("_") && there.get(name)?.type !== "module";
    const changed = recorded ? since.findLast(({ variables }) => changes(variables, name)) : undefined;
    if (changed === undefined && recorded && related) {
      if (since.length > 0) untold.push(name);
      return [];
    }
    if (changed === undefined) return [{ name, reason: `${into.name} has another one`, gone: false }];
    if (cameFrom(from, changed)) return [];
    const gone = changed.variables.deleted.includes(name);
    const reason = `${changed.id} of ${into.name} has ${gone ? "deleted" : "changed"} it`;
    return [{ name, reason, gone }];
  });
  const asked = [...untold, ...suspects.map(({ name }) => name)];
  if (asked.length === 0 || (await into.line.bringBack()) === null) return [];
  const own = await into.line.describe(NOTHING, { only: asked });
  const here = new Map(own.variables.map((one) => [one.name, one]));
  const differing = untold.filter((name) => here.has(name) && !areAlike(here.get(name), there.get(name)));
  const unseen =
    ancestor === null ? [] : await changedUnseen(into, from, { ancestor, since }, differing, here);
  const told = suspects
    .filter(({ name, gone }) => {
      const one = here.get(name);
      if (one === undefined) return gone;
      return !areAlike(one, there.get(name));
    })
    .map(({ name, reason }) => ({ name, reason }));
  return [...told, ...unseen];
}

/**
 * Of variables that differ, and that no record of the target's says it has changed since the fork: those that it has, all
 * the same. Records have changes that a bounded look sees; here all of it is compared with what it was then. Where that
 * cannot be had exactly, an execution that names the variable may have changed it.
 */
async function changedUnseen(
  into: Session,
  from: Session,
  { ancestor, since }: { ancestor: string; since: readonly LineExecution[] },
  names: readonly string[],
  here: ReadonlyMap<string, Described>,
): Promise<MergeConflict[]> {
  if (names.length === 0) return [];
  const { line } = !into.line.holds(ancestor) && from.line.holds(ancestor) ? from : into;
  const { manifest, inexact } = await line.describeAt(ancestor, NOTHING, { only: [...names] });
  const then = new Map(manifest.variables.map((one) => [one.name, one]));
  const doubtful = new Set(inexact.map(({ name }) => name));
  return names.flatMap((name) => {
    const [now, before] = [here.get(name), then.get(name)];
    if (!doubtful.has(name) && areComparable(now?.likeness, before?.likeness)) {
      if (areAlike(now, before)) return [];
      return [{ name, reason: `${into.name} has changed it since the fork, unseen by its records` }];
    }
    const naming = since.findLast(({ code }) => namesIn(code).has(name));
    return naming === undefined ? [] : [{ name, reason: `${naming.id} of ${into.name} may have changed it` }];
  });
}

function changes({ added, changed, deleted }: LineExecution["variables"], name: string): boolean {
  return deleted.includes(name) || [...added, ...changed].some((one) => one.name === name);
}

function cameFrom(from: Session, { effects, started_at }: LineExecution): boolean {
  // An earlier session may have had the name.
  return isMerge(effects, from.name) && started_at > from.info().created_at;
}
