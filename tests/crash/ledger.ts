/**
 * What a session's variables must be, by its history alone: each execution here adds its number to the list `done`.
 * Those that are `marked` write it to the file `ran`, too: that tells how often code has run.
 */
import type { Client, ExecutionSummary } from "../../src/sdk/index.ts";

export const BEGIN = "done = []";

const WAYS = [
  (number: number) => `done.append(${number})`,
  (number: number) => `done = [*done, ${number}]`,
  (number: number) => `done += [${number}]`,
];

export function adding(number: number): string {
  return `${WAYS[number % WAYS.length]!(number)}  # adds ${number}`;
}

export function marked(number: number): string {
  return `${adding(number)}\nwith open("ran", "a") as file: _ = file.write("${number}\\n")`;
}

/** Every execution of a session, oldest first. */
export async function historyOf(client: Client, session: string): Promise<ExecutionSummary[]> {
  const all: ExecutionSummary[] = [];
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page = await client.history({ session, limit: 500, ...(cursor === undefined ? {} : { cursor }) });
    all.push(...page.executions);
    cursor = page.next_cursor;
  }
  return all.reverse();
}

/** What `done` holds after these: the work of those that came to their end; null when none has made it. */
export function expected(history: readonly ExecutionSummary[]): number[] | null {
  let done: number[] | null = null;
  for (const { status, code } of history) {
    if (status !== "ok") continue;
    if (code.startsWith(BEGIN)) done = [];
    const number = /# adds (\d+)/.exec(code)?.[1];
    if (number !== undefined) done?.push(Number(number));
  }
  return done;
}

/** Numbers of the marked ones that came to their end. */
export function markedIn(history: readonly ExecutionSummary[]): number[] {
  return history
    .filter(({ status, code }) => status === "ok" && code.includes('open("ran"'))
    .map(({ code }) => Number(/# adds (\d+)/.exec(code)?.[1]));
}

export type Verdict = "as it was" | "told as lost";

/**
 * Asks the session for `done`. Throws when it is neither what it was, nor told to be lost: with this execution, or
 * with the one that was first after the restore.
 */
export async function verdictOf(client: Client, session: string): Promise<Verdict> {
  const history = await historyOf(client, session);
  const before = expected(history);
  const record = await client.execute({ session, code: "print(done)" });
  const now: unknown = record.status === "ok" ? JSON.parse(record.stdout) : null;
  if (JSON.stringify(now) === JSON.stringify(before)) return "as it was";
  const told = [record.restore];
  if (record.error?.type === "NameError") {
    for (const { id, code, status } of history.toReversed()) {
      // One that has found `done` comes before what lost it.
      if (code.includes("done") && status === "ok") break;
      told.push((await client.execution(id)).restore);
    }
    if (told.some((restore) => restore?.lost.some(({ name }) => name === "done"))) return "told as lost";
  }
  throw new Error(
    `${session}: done is ${JSON.stringify(now)}, was ${JSON.stringify(before)}; ${record.error?.message}; told: ${JSON.stringify(told)}`,
  );
}

/** Numbers in the file `ran`, as often as code has written them. */
export async function ranOf(client: Client, session: string): Promise<number[]> {
  const files = await client.files(session);
  if (!files.entries.some(({ path }) => path === "ran")) return [];
  const text = (await client.download(session, "ran")).toString();
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(Number);
}
