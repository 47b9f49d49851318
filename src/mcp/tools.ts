/** The five tools. A session's code fails in its answer (`isError`), and so does the platform, with its remedy. */
import {
  type CallToolResult,
  CLIENT_INFO_META_KEY,
  type McpServer,
  type ServerContext,
} from "@modelcontextprotocol/server";
import type { ExecutionSummary } from "../contract/api.ts";
import { LIMITS } from "../contract/limits.ts";
import {
  Durability,
  type ExecutionRecord,
  type SessionInfo,
  type TableLook,
  type VariableDetail,
  type VariableInfo,
} from "../contract/records.ts";
import {
  ExecuteCodeInput,
  ExecuteCodeOutput,
  ExecutionInput,
  HistoryInput,
  InspectInput,
  SessionToolInput,
} from "../contract/tools.ts";
import {
  type Client,
  doubtful,
  ExecuteCodeError,
  type ExportFormat,
  formatDuration,
  formatNumber,
  type Merge,
  nameUnsafe,
  parseInstant,
  type RestoreReport,
  type Rollback,
  type Unsafe,
} from "../sdk/index.ts";
import { answer, failureAnswer, textAnswer } from "./answer.ts";
import { exportAnswer } from "./export.ts";
import type { GrantedSessions } from "./grants.ts";
import { startProgress } from "./progress.ts";
import { Gathering } from "./text.ts";

/** The longest name that a record's cause takes. */
const CLIENT_NAME = 64;

export function registerTools(server: McpServer, client: Client, sessions: GrantedSessions): void {
  server.registerTool(
    "execute_code",
    {
      title: "Run code",
      description:
        "Runs code in a lasting session: variables, imports and open files stay for the next call. Answers status, " +
        "output, the last expression's value, error and images. Every call is recorded.",
      inputSchema: ExecuteCodeInput,
      outputSchema: ExecuteCodeOutput,
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true },
    },
    guarded(async (args: ToolArguments<typeof ExecuteCodeInput>, ctx: ServerContext) => {
      const request = {
        code: args.code,
        session: args.session,
        language: args.language,
        timeoutMs: args.timeout_ms,
        onTimeout: args.on_timeout,
        onError: args.on_error,
        // A model is asked by the answer of its call.
        onInput: "detach" as const,
        inputTimeoutMs: LIMITS.toolInputTimeoutMs,
        client: causeName(server, ctx),
        // A call that is cancelled is treated like one whose time is over: interrupted, or left to run on.
        signal: args.on_timeout === "interrupt" ? ctx.mcpReq.signal : undefined,
      };
      await sessions.ensure(args.session, args.language);
      using progress = startProgress(ctx);
      let record: ExecutionRecord | null = null;
      if (progress === null) record = await client.execute(request);
      else {
        for await (const event of client.stream(request)) {
          if (event.type === "progress") progress.report(event.done, event.total, event.message);
          else if (event.type === "end" || event.type === "detached") record = event.record;
        }
      }
      if (record === null) throw new ExecuteCodeError("connection_lost");
      return await answer(client, record, { room: args.max_output_chars, failing: true });
    }),
  );

  server.registerTool(
    "execution",
    {
      title: "Follow or stop an execution",
      description:
        "Follows an execution that runs on (peek, wait), answers its input(), or stops it (interrupt, kill).",
      inputSchema: ExecutionInput,
      outputSchema: ExecuteCodeOutput,
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false },
    },
    guarded(async (args: ToolArguments<typeof ExecutionInput>, ctx: ServerContext) => {
      const room = args.max_output_chars;
      switch (args.action) {
        case "peek":
          return await peek(client, args.id, args.offset, room);
        case "wait": {
          using _progress = startProgress(ctx);
          return await answer(client, await untilEndOrInput(client, args), { room, failing: true });
        }
        case "input": {
          using _progress = startProgress(ctx);
          await client.input(args.id, args.text ?? null);
          return await answer(client, await untilEndOrInput(client, args), { room, failing: true });
        }
        case "interrupt":
          return await answer(client, await client.interrupt(args.id), { room, failing: false });
        case "kill":
          return await answer(client, await client.kill(args.id), { room, failing: false });
      }
    }),
  );

  server.registerTool(
    "session",
    {
      title: "Sessions",
      description:
        "Lists, creates, shows, forks, rolls back, resets or closes sessions. Running code creates its session by itself.",
      inputSchema: SessionToolInput,
      annotations: {
        readOnlyHint: false,
        destructiveHint: true,
        idempotentHint: false,
        openWorldHint: false,
      },
    },
    guarded(async (args: ToolArguments<typeof SessionToolInput>, ctx: ServerContext) => {
      // Packages take their time.
      using _progress = startProgress(ctx);
      return textAnswer(await sessionLines(client, sessions, args), LIMITS.toolOutputChars);
    }),
  );

  server.registerTool(
    "inspect",
    {
      title: "Inspect variables",
      description: "Shows a session's variables, or one more closely: type, shape, size, bounded preview.",
      inputSchema: InspectInput,
      annotations: { readOnlyHint: true, openWorldHint: false },
    },
    guarded(async (args: ToolArguments<typeof InspectInput>) => {
      const lines =
        args.name === undefined
          ? await variableLines(client, args.session)
          : detailLines(await client.variable(args.session, args.name, args.depth));
      return textAnswer(lines, LIMITS.toolOutputChars);
    }),
  );

  server.registerTool(
    "history",
    {
      title: "History",
      description:
        "Searches all that was run, by words or by values of variables, newest first; shows one execution; exports a session.",
      inputSchema: HistoryInput,
      annotations: { readOnlyHint: true, openWorldHint: false },
    },
    guarded(async (args: ToolArguments<typeof HistoryInput>, ctx: ServerContext) => {
      if (args.action === "search")
        return textAnswer(await searchLines(client, args), LIMITS.toolOutputChars);
      if (args.action === "export") {
        const format = exportFormat(args.format);
        const options = { format, all: args.all };
        return await exportAnswer(client, args.session ?? "main", options, LIMITS.toolOutputChars);
      }
      if (args.action === "bisect" || args.action === "replay") {
        using _progress = startProgress(ctx);
        const session = args.session ?? "main";
        const lines =
          args.action === "bisect"
            ? await bisectLines(client, session, args.predicate)
            : await replayLines(client, session, args.ids, args.into);
        return textAnswer(lines, LIMITS.toolOutputChars);
      }
      if (args.id === undefined) throw missing("id", "show");
      const record = await client.execution(args.id);
      const shown = await answer(client, record, { room: LIMITS.toolOutputChars, failing: false });
      const code = textAnswer([`started ${record.started_at}`, "code:", record.code], LIMITS.toolOutputChars);
      return { content: [...code.content, ...shown.content] };
    }),
  );
}

type ToolArguments<S extends { readonly _output: unknown }> = S["_output"];

/** Turns failures into answers that say what to do. */
function guarded<A>(
  act: (args: A, ctx: ServerContext) => Promise<CallToolResult>,
): (args: A, ctx: ServerContext) => Promise<CallToolResult> {
  return async (args, ctx) => {
    try {
      return await act(args, ctx);
    } catch (error) {
      return failureAnswer(error);
    }
  };
}

/** `mcp:` and the host's name, where it gave one. */
function causeName(server: McpServer, ctx: ServerContext): string {
  const host = envelopeName(ctx) ?? server.server.getClientVersion()?.name;
  return host ? `mcp:${host}`.slice(0, CLIENT_NAME).toWellFormed() : "mcp";
}

/** Since protocol 2026-07-28 each request tells who asks. */
function envelopeName(ctx: ServerContext): string | undefined {
  const envelope: Record<string, unknown> = { ...ctx.mcpReq.envelope };
  const info = envelope[CLIENT_INFO_META_KEY];
  return typeof info === "object" && info !== null && "name" in info && typeof info.name === "string"
    ? info.name
    : undefined;
}

function missing(argument: string, action: string): ExecuteCodeError {
  return new ExecuteCodeError("invalid_request", {
    message: `The action ${action} needs ${argument}.`,
    remedy: `Pass ${argument}.`,
  });
}

/** The record at the execution's end, at its next question, or when the time is over. */
function untilEndOrInput(client: Client, args: { id: string; timeout_ms: number }): Promise<ExecutionRecord> {
  return client.wait(args.id, args.timeout_ms, { until: "input" });
}

/** What the execution wrote since the offset, without waiting for more. */
async function peek(client: Client, id: string, offset: number, room: number): Promise<CallToolResult> {
  const record = await client.execution(id);
  const stdout = new Gathering(room);
  const stderr = new Gathering(room);
  if (record.offset > offset) {
    for await (const event of client.follow(id, offset)) {
      if (event.type === "stdout") stdout.add(event.text);
      else if (event.type === "stderr") stderr.add(event.text);
      if (event.offset >= record.offset) break;
    }
  }
  return await answer(client, record, {
    room,
    failing: false,
    output: { stdout: stdout.end(), stderr: stderr.end() },
  });
}

async function sessionLines(
  client: Client,
  granted: GrantedSessions,
  args: ToolArguments<typeof SessionToolInput>,
): Promise<string[]> {
  if (args.action === "list") {
    const sessions = await client.sessions();
    return sessions.length === 0 ? ["There are no sessions."] : sessions.map(sessionLine);
  }
  if (args.action === "create") {
    const { language, python, durability, on_busy: onBusy, packages = [] } = args.options ?? {};
    const level = Durability.safeParse(durability ?? "full");
    if (!level.success) {
      throw new ExecuteCodeError("invalid_request", {
        message: `There is no durability ${durability}.`,
        remedy: `Use ${Durability.options.join(" or ")}.`,
      });
    }
    const options = { name: args.name, language, python, durability: level.data, onBusy };
    const session = await granted.create(options);
    if (packages.length > 0) await client.install(session.name, packages);
    return [sessionLine(packages.length === 0 ? session : await client.showSession(session.name))];
  }
  if (args.name === undefined) throw missing("name", args.action);
  const { count, names, from, snapshot, to, on_unsafe: onUnsafe } = args.options ?? {};
  switch (args.action) {
    case "fork": {
      const { sessions, unsafe } = await client.fork(args.name, { count, names, from, onUnsafe });
      return [...sessions.map(sessionLine), ...unsafe.map(lackLine)];
    }
    case "snapshot": {
      const taken = await client.snapshot(args.name, snapshot);
      return [`${taken.id} after ${taken.execution ?? "the beginning"}`, ...taken.unsafe.map(lackLine)];
    }
    case "rollback":
      return rollbackLines(await client.rollback(args.name, to));
    case "merge": {
      const { variables, on_conflict: onConflict } = args.options ?? {};
      if (from === undefined) throw missing("options.from", "merge");
      if (variables === undefined) throw missing("options.variables", "merge");
      return mergeLines(await client.merge(args.name, from, variables, { onConflict }));
    }
    case "restore":
      return restoreLines(await client.restoreSession(args.name, args.options?.capture));
    case "show":
      return [sessionLine(await client.showSession(args.name))];
    case "reset":
      return [sessionLine(await client.resetSession(args.name))];
    case "close":
      granted.forget(args.name);
      return [sessionLine(await client.closeSession(args.name))];
  }
}

function lackLine(one: Unsafe): string {
  return `The copy lacks ${nameUnsafe(one)}.`;
}

function rollbackLines(done: Rollback): string[] {
  const { session, to, abandoned, files, truncated, snapshot, restore, ended } = done;
  const lines = [sessionLine(session), `variables are as after ${to ?? "the beginning"}`];
  if (abandoned.length > 0) lines.push(`undone: ${abandoned.join(", ")}`);
  if (files.length > 0) {
    const list = files.map(({ path }) => path).join(", ");
    lines.push(`files that changed since, and stay: ${list}${truncated ? ", and more" : ""}`);
  }
  for (const { name, reason } of restore?.lost ?? []) lines.push(`lost: ${name} (${reason})`);
  for (const one of doubtful(restore)) lines.push(`perhaps not as it was: ${one}`);
  for (const one of ended ?? []) lines.push(`ended: ${nameUnsafe(one)}`);
  return [...lines, ...(snapshot?.unsafe ?? []).map(lackLine)];
}

function mergeLines({ session, variables, conflicts, classes }: Merge): string[] {
  return [
    sessionLine(session),
    ...variables.map(
      ({ name, outcome, reason }) => `${name}: ${outcome}${reason === null ? "" : ` (${reason})`}`,
    ),
    ...conflicts.map(({ name, reason }) => `conflict: ${name}: ${reason}`),
    ...(classes.length === 0 ? [] : [`classes that differ, the session's own hold: ${classes.join(", ")}`]),
  ];
}

function restoreLines({ session, generation, variables }: RestoreReport): string[] {
  const of = (outcome: string): string[] =>
    variables.filter((one) => one.outcome === outcome).map(({ name }) => name);
  const lines = [
    `session=${session} generation=${generation}`,
    `restored: ${of("restored").join(", ") || "none"}`,
  ];
  for (const { name, outcome, executions, reason } of variables) {
    const why = reason === null ? "" : ` (${reason})`;
    if (outcome === "recomputed") lines.push(`recomputed: ${name} by ${executions.join(", ")}${why}`);
    else if (outcome === "lost") lines.push(`lost: ${name}${why}`);
    else if (reason !== null) lines.push(`perhaps not as it was: ${name}${why}`);
  }
  return lines;
}

function sessionLine(session: SessionInfo): string {
  const parts = [
    session.name,
    session.state,
    session.language,
    `rev=${session.revision}`,
    `generation=${session.generation}`,
    `isolation=${session.isolation}`,
    `workspace=${session.workspace}`,
  ];
  if (session.packages.length > 0) {
    parts.push(`packages=${session.packages.map(({ name, version }) => `${name}==${version}`).join(",")}`);
  }
  if (session.forked_from !== null) parts.push(`forked_from=${session.forked_from.session}`);
  if (session.running !== null) parts.push(`running=${session.running}`);
  if (session.on_busy !== "wait") parts.push(`on_busy=${session.on_busy}`);
  if (session.queued > 0) parts.push(`queued=${session.queued}`);
  return parts.join(" ");
}

async function variableLines(client: Client, session: string): Promise<string[]> {
  const { variables, revision } = await client.variables(session);
  if (variables.length === 0) return [`The session ${session} has no variables.`];
  return [`session=${session} rev=${revision}`, ...variables.map(variableLine)];
}

function variableLine(variable: VariableInfo): string {
  const size =
    variable.shape !== null
      ? `shape ${variable.shape.join("×")}`
      : variable.length !== null
        ? `length ${variable.length}`
        : "";
  const facts = [variable.dtype ?? "", size, variable.bytes === null ? "" : `${variable.bytes} bytes`].filter(
    (fact) => fact !== "",
  );
  return `${variable.name}: ${variable.type}${facts.length === 0 ? "" : ` (${facts.join(", ")})`} = ${variable.preview.replaceAll("\n", " ")}`;
}

/** Parts of one value that a model reads; a program gets more through the other faces. */
const DETAIL_CHILDREN = 20;

function detailLines(detail: VariableDetail): string[] {
  const lines = [variableLine(detail)];
  if (detail.signature !== null) lines.push(`  signature: ${detail.signature}`);
  if (detail.doc !== null) lines.push(`  doc: ${detail.doc.trim()}`);
  if (detail.source !== null) lines.push(detail.source.trimEnd());
  if (detail.table !== null) lines.push(...tableLines(detail.table));
  return [...lines, ...childLines(detail, "  ")];
}

function childLines(detail: VariableDetail, indent: string): string[] {
  const shown = detail.children.slice(0, DETAIL_CHILDREN);
  const lines = shown.flatMap((child) => [
    `${indent}${variableLine(child)}${child.signature === null ? "" : ` ${child.signature}`}`,
    ...childLines(child, `${indent}  `),
  ]);
  const omitted = detail.omitted + detail.children.length - shown.length;
  // Without any child shown, the depth asked for ends here, and the line above tells the length.
  if (omitted > 0 && shown.length > 0) lines.push(`${indent}… ${omitted} more`);
  return lines;
}

/** The first rows, with their labels where these are more than positions, and figures under one line of names a kind. */
function tableLines(table: TableLook): string[] {
  const columns = table.columns.map((column) => `${column.name} ${column.dtype}`.trim());
  if (table.omitted_columns > 0) columns.push(`… ${table.omitted_columns} more`);
  const labelled = table.index.some((label, row) => label !== String(row));
  const lines = [`  columns: ${columns.join(" | ")}`, "  head:"];
  table.head.forEach((cells, row) => {
    const label = labelled ? [`${table.index[row]}:`] : [];
    lines.push(`    ${[...label, cells.map(shortCell).join(" | ")].join(" ")}`);
  });
  const kinds = Map.groupBy(Object.entries(table.describe), ([, figures]) => Object.keys(figures).join(" "));
  kinds.delete("");
  for (const [names, described] of kinds) {
    lines.push(`  describe (${table.described_rows} rows): ${names}`);
    for (const [name, figures] of described) {
      const numbers = Object.values(figures).map((figure) => (figure === null ? "-" : formatNumber(figure)));
      lines.push(`    ${name === "" ? "" : `${name}: `}${numbers.join(" ")}`);
    }
  }
  return lines;
}

function shortCell(text: string): string {
  return /^-?\d+\.\d+(e[+-]?\d+)?$/.test(text) ? formatNumber(Number(text)) : text;
}

async function bisectLines(
  client: Client,
  session: string,
  predicate: string | undefined,
): Promise<string[]> {
  if (predicate === undefined) throw missing("predicate", "bisect");
  const { summary, steps, broken_by, last_good } = await client.bisect(session, predicate);
  const asked = steps.map(
    ({ execution, outcome, detail }) =>
      `${execution ?? "the beginning"}: ${outcome}${detail === null ? "" : ` (${detail})`}`,
  );
  if (broken_by === null || last_good === null) return [summary, ...asked];
  return [summary, `to go back: session rollback with options.to=${last_good}`, ...asked];
}

async function replayLines(
  client: Client,
  session: string,
  executions: string[] | undefined,
  into: string | undefined,
): Promise<string[]> {
  const done = await client.replay(session, { executions, into });
  return [
    `They ran in the session ${done.session.name}.`,
    ...done.executions.map(({ original, execution, status, same, reason }) =>
      execution === null
        ? `${original}: not run (${reason})`
        : `${original}: ${execution} ${status}${same === false ? ", not the same as before" : ""}${reason === null ? "" : ` (${reason})`}`,
    ),
  ];
}

async function searchLines(client: Client, args: ToolArguments<typeof HistoryInput>): Promise<string[]> {
  const since = args.since === undefined ? undefined : parseInstant(args.since);
  if (since === null) {
    throw new ExecuteCodeError("invalid_request", {
      message: `“${args.since}” is neither an age nor an instant.`,
      remedy: "Pass an age such as 30m, 2h or 7d, or an ISO 8601 instant.",
    });
  }
  const { query, session, status, limit, cursor, variable, where, format = "brief" } = args;
  if (format !== "brief" && format !== "detailed") throw noFormat(format, "search", "brief or detailed");
  const filters = { query, session, status, since, cursor, variable, where };
  const given = Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined));
  const page = await client.history({ ...given, limit });
  if (page.executions.length === 0) {
    if (session !== undefined) await client.showSession(session); // Throws when there is none.
    return ["Nothing was found."];
  }
  const lines = page.executions.flatMap(format === "brief" ? briefLines : detailedLines);
  if (page.next_cursor !== null) lines.push(`There is more: cursor ${page.next_cursor}`);
  return lines;
}

function exportFormat(format: ToolArguments<typeof HistoryInput>["format"]): ExportFormat {
  if (format === "brief" || format === "detailed") throw noFormat(format, "export", "md, py, jsonl or ipynb");
  return format ?? "md";
}

function noFormat(format: string, action: string, formats: string): ExecuteCodeError {
  return new ExecuteCodeError("invalid_request", {
    message: `The action ${action} has no format ${format}.`,
    remedy: `Pass format ${formats}.`,
  });
}

/** The changes of variables that were asked for, where they were. */
function changeTexts(one: ExecutionSummary): string[] {
  return (one.variables ?? []).map(({ change, name, type, preview }) =>
    type === null ? `${change} ${name}` : `${change} ${name}: ${type} = ${preview}`,
  );
}

function briefLines(one: ExecutionSummary): string[] {
  const changes = changeTexts(one).join("; ");
  const outcome = changes || (one.error ?? one.result ?? one.stdout);
  return [`${headOf(one)} | ${flat(one.code, 80)}${outcome === "" ? "" : ` → ${flat(outcome, 80)}`}`];
}

function detailedLines(one: ExecutionSummary): string[] {
  const lines = [headOf(one), one.code.trimEnd()];
  if (one.stdout !== "") lines.push("stdout:", one.stdout.trimEnd());
  if (one.result !== null) lines.push("result:", one.result);
  if (one.error !== null) lines.push("error:", one.error);
  lines.push(...changeTexts(one));
  return [...lines, ""];
}

function headOf(one: ExecutionSummary): string {
  return `${one.id} ${one.status} ${formatDuration(one.duration_ms)} ${one.started_at} session=${one.session} rev=${one.revision}`;
}

function flat(text: string, length: number): string {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length <= length ? line : `${line.slice(0, length - 1).toWellFormed()}…`;
}
