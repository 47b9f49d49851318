/** `history` and `history show`. */
import { LIMITS } from "../contract/limits.ts";
import type { ExecutionRecord, ExecutionStatus } from "../contract/records.ts";
import {
  createClient,
  type ExecutionSummary,
  formatDuration,
  memoryNotes,
  statusLine,
  type VariableChange,
} from "../sdk/index.ts";
import { note, oneLine, usageError, write, writeJson, writeLine, writeTable } from "./terminal.ts";

interface SearchFlags {
  session?: string;
  status?: ExecutionStatus;
  /** ISO 8601 instant. */
  since?: string;
  variable?: string;
  where?: string;
  tree?: boolean;
  limit?: number;
  cursor?: string;
  json?: boolean;
}

export async function search(query: string | undefined, flags: SearchFlags): Promise<number> {
  const { json, tree, ...filters } = flags;
  if (tree === true) {
    const { status, since, variable, where, cursor } = filters;
    if ([query, status, since, variable, where, cursor].some((given) => given !== undefined)) {
      throw usageError(
        "A tree shows all executions of a session.",
        "Give no more than --session, --limit and --json.",
      );
    }
    return await (await import("./tree.ts")).tree(flags);
  }
  if ((filters.limit ?? 0) > LIMITS.historyPageMax) {
    throw usageError(
      `A page has at most ${LIMITS.historyPageMax} executions.`,
      `Give a whole number from 1 to ${LIMITS.historyPageMax}, or more with --tree.`,
    );
  }
  await using client = createClient({ client: "cli" });
  const page = await client.history({ ...filters, ...(query === undefined ? {} : { query }) });
  // A page of a session that never was is empty, too: somebody may wait for its first execution.
  if (page.executions.length === 0 && flags.session !== undefined) await client.showSession(flags.session);
  if (json) await writeJson(page);
  else if (page.executions.length === 0) note("Nothing was found.");
  else {
    await writeTable(
      ["ID", "STARTED", "SESSION", "STATUS", "TIME", "CODE", "OUTCOME"],
      page.executions.map((one) => [
        one.id,
        one.started_at.slice(0, 19).replace("T", " "),
        one.session,
        one.status,
        formatDuration(one.duration_ms),
        oneLine(one.code, 40),
        oneLine(one.variables === undefined ? outcome(one) : one.variables.map(changeText).join("; "), 60),
      ]),
    );
    if (page.next_cursor !== null) note(`There is more: add --cursor ${page.next_cursor}`);
  }
  return 0;
}

const SIGNS = { added: "+", changed: "~", deleted: "-" } as const;

function changeText({ change, name, type, preview }: VariableChange): string {
  return `${SIGNS[change]} ${name}${type === null ? "" : `: ${type} = ${preview}`}`;
}

function outcome(one: ExecutionSummary): string {
  return one.error ?? one.result ?? one.stdout;
}

export async function show(id: string, flags: { json?: boolean }): Promise<number> {
  await using client = createClient({ client: "cli" });
  const record = await client.execution(id);
  if (flags.json) await writeJson(record);
  else await writeRecord(record);
  return 0;
}

async function writeRecord(record: ExecutionRecord): Promise<void> {
  await writeLine(`${statusLine(record)} started=${record.started_at}`);
  await writePart("code", record.code);
  await writePart("stdout", record.stdout);
  await writePart("stderr", record.stderr);
  await writePart("result", record.result?.text ?? "");
  if (record.error !== null) {
    await writePart("error", record.error.traceback || `${record.error.type}: ${record.error.message}`);
  }
  const { added, changed, deleted } = record.variables;
  const changes = [
    ...added.map((one) => `+ ${one.name}: ${one.type} = ${oneLine(one.preview)}`),
    ...changed.map((one) => `~ ${one.name}: ${one.type} = ${oneLine(one.preview)}`),
    ...deleted.map((name) => `- ${name}`),
  ];
  await writePart("variables", changes.join("\n"));
  await writePart(
    "effects",
    record.effects
      .map(
        ({ kind, target, count }) => `${kind} ${oneLine(target, 100)}${count > 1 ? ` (${count} times)` : ""}`,
      )
      .join("\n"),
  );
  await writePart("memory", memoryNotes(record).join("\n"));
  await writePart(
    "artifacts",
    record.artifacts.map((one) => `${one.number} ${one.mime} ${one.bytes} bytes ${one.uri}`).join("\n"),
  );
  const left = record.truncated.stdout_bytes + record.truncated.stderr_bytes;
  if (left > 0) await writePart("left out", `${left} bytes of output; the artifacts hold them`);
}

async function writePart(name: string, text: string): Promise<void> {
  if (text === "") return;
  await write(`\n── ${name} ──\n${text}${text.endsWith("\n") ? "" : "\n"}`);
}
