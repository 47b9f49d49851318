/** `history --tree`: the lines of a session's executions, with those that were abandoned and those that were forked. */
import { type Client, createClient, type ExecutionSummary, type SessionInfo } from "../sdk/index.ts";
import { note, oneLine, writeJson, writeLine } from "./terminal.ts";

interface Flags {
  session?: string;
  limit?: number;
  json?: boolean;
}

/** A page of the search. */
const PAGE = 500;

interface Tree {
  readonly session: SessionInfo;
  readonly forks: readonly SessionInfo[];
  /** Oldest first. */
  readonly executions: readonly ExecutionSummary[];
  /** Older ones are left out. */
  readonly cut: boolean;
  /** Those from the beginning to the head. */
  readonly line: ReadonlySet<string>;
}

export async function tree(flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  const found = await gather(client, flags.session ?? "main", flags.limit ?? Number.POSITIVE_INFINITY);
  if (flags.json) await writeJson(asJson(found));
  else {
    for (const line of linesOf(found)) await writeLine(line);
    if (found.cut) note("Older executions are left out: raise --limit.");
  }
  return 0;
}

async function gather(client: Client, name: string, limit: number): Promise<Tree> {
  const session = await client.showSession(name);
  const executions: ExecutionSummary[] = [];
  let cursor: string | null = null;
  do {
    const page = await client.history({
      session: session.id,
      limit: Math.min(PAGE, limit - executions.length),
      ...(cursor === null ? {} : { cursor }),
    });
    executions.push(...page.executions);
    cursor = page.next_cursor;
  } while (cursor !== null && executions.length < limit);
  const parents = new Map(executions.map((one) => [one.id, one.parent]));
  const line = new Set<string>();
  for (let at = session.head; at !== null && parents.has(at) && !line.has(at); at = parents.get(at) ?? null) {
    line.add(at);
  }
  const forks = (await client.sessions({ closed: true })).filter(
    (one) => one.forked_from?.session_id === session.id,
  );
  return { session, forks, executions: executions.reverse(), cut: cursor !== null, line };
}

function asJson({ session, forks, executions, cut, line }: Tree) {
  return {
    session: session.name,
    session_id: session.id,
    head: session.head,
    forked_from: session.forked_from,
    forks: forks.map((one) => ({
      session: one.name,
      session_id: one.id,
      execution: one.forked_from?.execution ?? null,
      state: one.state,
    })),
    executions: executions.map((one) => ({ ...one, on_line: line.has(one.id) })),
    complete: !cut,
  };
}

function* linesOf({ session, forks, executions, cut, line }: Tree): Generator<string, void> {
  const known = new Set(executions.map((one) => one.id));
  const children = Map.groupBy(executions, ({ parent }) =>
    parent !== null && known.has(parent) ? parent : null,
  );

  const labels = (id: string | null): string => {
    const own = forks.filter((one) => one.forked_from?.execution === id).map((one) => `⑂ ${one.name}`);
    if (session.head === id) own.unshift("← head");
    return own.length === 0 ? "" : `  ${own.join("  ")}`;
  };

  /** What follows an execution, or the beginning: first the lines that end, then the one that goes on. */
  function* below(id: string | null, prefix: string): Generator<string, void> {
    let at: string | null = id;
    for (;;) {
      const next = children.get(at) ?? [];
      const onLine = at === null || line.has(at);
      // From the current line nothing goes on straight but the line itself.
      const trunk =
        next.find((one) => line.has(one.id)) ?? (onLine && line.size > 0 ? undefined : next.at(-1));
      const branches = next.filter((one) => one !== trunk);
      for (const [index, branch] of branches.entries()) {
        const last = trunk === undefined && index === branches.length - 1;
        yield `${prefix}${last ? "╰─" : "├─"}${text(branch)}`;
        yield* below(branch.id, `${prefix}${last ? "  " : "│ "}`);
      }
      if (trunk === undefined) return;
      yield `${prefix}${text(trunk)}`;
      at = trunk.id;
    }
  }

  const text = (one: ExecutionSummary): string => {
    const mark = line.has(one.id) ? "●" : "○";
    const outcome = one.error === null ? "" : ` → ${oneLine(one.error, 40)}`;
    return `${mark} ${one.id} rev ${one.revision} ${one.status}${labels(one.id)}  ${oneLine(one.code, 50)}${outcome}`;
  };

  const from = session.forked_from;
  const beginning =
    from === null ? "the beginning" : `${from.session} at ${from.execution ?? "its beginning"}`;
  yield `${session.name}, from ${cut ? "older executions" : beginning}${cut ? "" : labels(from?.execution ?? null)}`;
  yield* below(null, "");
}
