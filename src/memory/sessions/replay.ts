/** Runs past executions again, in another session, and tells whether they did the same. */
import { ExecuteBody, type ReplayBody } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { Effect, ExecutionRecord } from "../../contract/records.ts";
import type { ReplayedExecution } from "../../contract/time-travel.ts";
import type { LineExecution, Store } from "../ports/store.ts";
import { isMerge } from "./merge-effect.ts";
import { compare } from "./sameness.ts";
import type { Session } from "./session.ts";

/** Effects that do no harm a second time. */
const HARMLESS: ReadonlySet<Effect["kind"]> = new Set(["read", "time", "random"]);

/** The ids that a request means, in order, and at least one. Throws `unknown_execution` and `invalid_request`. */
export async function wantedOf(
  store: Store,
  { executions, from, to }: ReplayBody,
  line: readonly LineExecution[],
): Promise<string[]> {
  if (executions !== undefined && (from !== undefined || to !== undefined)) {
    throw new ExecuteCodeError("invalid_request", {
      message: "Executions are named, and a part of the line, too.",
      remedy: "Give ids, or --from and --to (`from` and `to`).",
    });
  }
  const ids = executions ?? between(line, from, to);
  if (ids.length === 0) {
    throw new ExecuteCodeError("invalid_request", {
      message: "There is no execution to run again.",
      remedy: "Name a session whose line has executions, or their ids: see `execute-code history`.",
    });
  }
  for (const id of executions ?? []) await recordOf(store, id);
  return ids;
}

function between(line: readonly LineExecution[], from?: string, to?: string): string[] {
  const place = (id: string): number => {
    const at = line.findIndex((one) => one.id === id);
    if (at !== -1) return at;
    throw new ExecuteCodeError("unknown_execution", {
      message: `The execution \`${id.slice(0, 80)}\` is not on the session's line.`,
      remedy: "List the line with `execute-code history --session NAME --tree`.",
    });
  };
  const first = from === undefined ? 0 : place(from);
  const last = to === undefined ? line.length - 1 : place(to);
  if (from !== undefined && to !== undefined && last < first) {
    throw new ExecuteCodeError("invalid_request", {
      message: `The line has ${to} before ${from}: there is nothing from the one to the other.`,
      remedy: "Exchange --from and --to (`from` and `to`).",
    });
  }
  return line.slice(first, last + 1).map(({ id }) => id);
}

async function recordOf(store: Store, id: string): Promise<ExecutionRecord> {
  const record = (await store.getExecution(id))?.record;
  if (record !== undefined) return record;
  throw new ExecuteCodeError("unknown_execution", {
    message: `There is no execution \`${id.slice(0, 80)}\`.`,
  });
}

/** Runs them one after the other, until one fails that did not fail before. Throws `unknown_execution`. */
export async function replay(
  store: Store,
  ids: readonly string[],
  into: Session,
  { effects, keep_going: keepGoing, client }: Pick<ReplayBody, "effects" | "keep_going" | "client">,
): Promise<ReplayedExecution[]> {
  const done: ReplayedExecution[] = [];
  let stopped: string | null = null;
  for (const id of ids) {
    const original = await recordOf(store, id);
    const reason = stopped ?? whyNot(original, effects);
    if (reason !== null) {
      done.push({ original: id, execution: null, status: null, same: null, reason });
      continue;
    }
    const record = await run(into, original, client);
    done.push({
      original: id,
      execution: record.id,
      status: record.status,
      ...compare(original, record),
    });
    if (record.status !== "ok" && original.status === "ok" && !keepGoing)
      stopped = `${record.id} before it failed`;
  }
  return done;
}

function whyNot({ effects }: ExecutionRecord, evenHarmful: boolean): string | null {
  if (isMerge(effects)) return "it merged variables of another session, which no code does";
  if (evenHarmful) return null;
  const harmful = effects.find(({ kind }) => !HARMLESS.has(kind));
  return harmful === undefined
    ? null
    : `it did something outside its session: ${harmful.kind} ${harmful.target}`;
}

async function run(into: Session, original: ExecutionRecord, client: string): Promise<ExecutionRecord> {
  const body = ExecuteBody.parse({ session: into.name, code: original.code, client, on_input: "refuse" });
  const submitted = await into.submit(body, { kind: "execution", client, execution: original.id });
  if ("duplicate" in submitted) throw new ExecuteCodeError("internal", { message: "A replay met itself." });
  return submitted.execution.recorded;
}
