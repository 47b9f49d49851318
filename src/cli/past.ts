/** `history bisect|replay`. */
import { createClient } from "../sdk/index.ts";
import { note, writeJson, writeLine, writeTable } from "./terminal.ts";

interface Flags {
  json?: boolean;
}

export async function bisect(
  predicate: string,
  flags: Flags & { session: string; good?: string; bad?: string; timeout?: number },
): Promise<number> {
  await using client = createClient({ client: "cli" });
  const { session, good, bad, timeout } = flags;
  const found = await client.bisect(session, predicate, { good, bad, timeoutMs: timeout });
  if (flags.json) {
    await writeJson(found);
    return 0;
  }
  await writeLine(found.summary);
  await writeTable(
    ["AFTER", "OUTCOME", "DETAIL"],
    found.steps.map((step) => [step.execution ?? "the beginning", step.outcome, step.detail ?? ""]),
  );
  if (found.broken_by !== null) {
    note(`See it: execute-code history show ${found.broken_by}`);
    if (found.last_good !== null)
      note(`Go back: execute-code session rollback ${session} ${found.last_good}`);
  }
  return 0;
}

export async function replay(
  ids: string[],
  flags: Flags & {
    session?: string;
    from?: string;
    to?: string;
    into?: string;
    effects?: boolean;
    keepGoing?: boolean;
  },
): Promise<number> {
  await using client = createClient({ client: "cli" });
  const { from, to, into, effects, keepGoing } = flags;
  const executions = ids.length === 0 ? undefined : ids;
  const first = ids[0] === undefined ? null : await client.execution(ids[0]);
  const session = flags.session ?? first?.session_id ?? "main";
  const done = await client.replay(session, { executions, from, to, into, effects, keepGoing });
  if (flags.json) await writeJson(done);
  else {
    await writeTable(
      ["ORIGINAL", "EXECUTION", "STATUS", "SAME", "NOTE"],
      done.executions.map((one) => [
        one.original,
        one.execution ?? "",
        one.status ?? "not run",
        one.same === null ? (one.execution === null ? "" : "unknown") : one.same ? "yes" : "no",
        one.reason ?? "",
      ]),
    );
    note(`They ran in the session ${done.session.name}.`);
  }
  return 0;
}
