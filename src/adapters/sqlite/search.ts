/**
 * Searching the history, newest first. A page is found in two steps: first the numbers of its executions, from
 * indexes and the searchable text alone, then their summaries, so that sorting never carries large texts along.
 *
 * A term of three or more characters goes through the trigram index, whose candidates are compared with the whole
 * term; shorter terms have no token there, so they are compared with each text, newest first, until a page is full.
 * So are the variables of records with what is asked of their values.
 */

import type { SQLInputValue } from "node:sqlite";
import {
  type Compilable,
  DummyDriver,
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from "kysely";
import type { ExecutionSummary, HistoryQuery } from "../../contract/api.ts";
import { Refusal } from "../../memory/ports/failure.ts";
import type { Connection } from "./connection.ts";
import type { SearchPart } from "./protocol.ts";
import type { Tables } from "./tables.ts";
import { indexTokens, queryTerms } from "./text.ts";
import { type Fitting, fitting } from "./values.ts";

const SUMMARY = { code: 400, result: 200, error: 300, stdout: 200 };

/** Composes queries only: DatabaseSync is synchronous, so they run directly on the connection. */
const composer = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (database) => new SqliteIntrospector(database),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

function run<Row>(connection: Connection, query: Compilable<Row>): Row[] {
  const { sql: text, parameters } = query.compile();
  return connection.all<Row>(text, ...(parameters as SQLInputValue[]));
}

/**
 * Executions whose variables are looked at in one go. The record of each is read for it, so a long history is searched
 * in parts, between which other searches have their turn.
 */
const PART = 2_000;

/** `before`: where the part before ended; null at first. */
export function search(connection: Connection, query: HistoryQuery, before: number | null): SearchPart {
  const cursor = query.cursor === undefined ? null : numberOf(connection, query.cursor);
  const top = before ?? cursor;
  const fits = fitting(query);
  const floor = fits === null ? 0 : (top ?? newest(connection) + 1) - PART;
  if (fits !== null) {
    connection.define("variables_fit", (variables) =>
      variables !== null && fits(variables).length > 0 ? 1 : 0,
    );
  }
  const found = run(connection, numbers(query, top, floor));
  const page = found.slice(0, query.limit).map((row) => row.number);
  const executions =
    page.length === 0
      ? []
      : run(connection, summaries(page, fits !== null)).map((row) => summaryOf(row, fits));
  return { executions, more: found.length > query.limit, searchedTo: floor > 1 ? floor : null };
}

/** The number of the newest execution; 0 when there is none. */
function newest(connection: Connection): number {
  const [row] = run(
    connection,
    composer.selectFrom("executions").select((one) => one.fn.max("number").as("number")),
  );
  return row?.number ?? 0;
}

/** A cursor is the id of the last execution of the page before. */
function numberOf(connection: Connection, cursor: string): number {
  const [row] = run(connection, composer.selectFrom("executions").select("number").where("id", "=", cursor));
  if (row === undefined) {
    throw new Refusal("invalid_request", { cursor }, "The cursor is not the next_cursor of an earlier page.");
  }
  return row.number;
}

/** One more than the page holds, to know whether there is another. */
function numbers(query: HistoryQuery, before: number | null, floor: number) {
  const { session, status, since, until, variable, where } = query;
  const terms = queryTerms(query.query ?? "");
  const tokens = [...new Set(terms.flatMap(indexTokens))];
  return (
    composer
      .selectFrom("executions as e")
      .select("e.number")
      .$if(before !== null, (q) => q.where("e.number", "<", before))
      .$if(floor > 0, (q) => q.where("e.number", ">=", floor))
      .$if(session !== undefined, (q) => q.where("e.session_id", "in", sessionsNamed(session ?? "")))
      .$if(status !== undefined, (q) => q.where("e.status", "=", status ?? ""))
      // Names the partial index of executions that are unfinished or failed.
      .$if(status !== undefined && status !== "ok", (q) => q.where("e.status", "<>", sql.lit("ok")))
      .$if(since !== undefined, (q) =>
        q
          .where("e.accepted_at", ">=", instant(since ?? ""))
          .where("e.number", ">=", firstSince(instant(since ?? ""))),
      )
      .$if(until !== undefined, (q) => q.where("e.accepted_at", "<", instant(until ?? "")))
      .$if(tokens.length > 0, (q) => q.where("e.number", "in", candidates(tokens)))
      .$if(terms.length > 0, (q) =>
        q.where((where) =>
          where.exists(
            where
              .selectFrom("searchable as s")
              .select("s.number")
              .whereRef("s.number", "=", "e.number")
              .where(where.and(terms.map((term) => sql<boolean>`instr(s.text, ${term}) > 0`))),
          ),
        ),
      )
      // As JSON has it: what is not there need not be parsed.
      .$if(variable !== undefined, (q) =>
        q.where(sql<boolean>`instr(e.record, ${JSON.stringify(variable)}) > 0`),
      )
      .$if(variable !== undefined || where !== undefined, (q) =>
        q.where(sql<boolean>`variables_fit(${variablesOf("e.record")})`),
      )
      .orderBy("e.number", "desc")
      .limit(query.limit + 1)
  );
}

/** The changes of variables in a stored record, as JSON; null for an unfinished execution. */
function variablesOf(column: "e.record" | "record") {
  return sql<string | null>`json_extract(${sql.ref(column)}, '$.rest.variables')`;
}

/** Every session that has or had the name, or the one with the id. */
function sessionsNamed(ref: string) {
  return composer
    .selectFrom("sessions")
    .select("id")
    .where((where) => where.or([where("name", "=", ref), where("id", "=", ref)]));
}

function candidates(tokens: readonly string[]) {
  const match = tokens.map((token) => `"${token.replaceAll('"', '""')}"`).join(" AND ");
  return composer
    .selectFrom("text_index as t")
    .select("t.rowid")
    .where(sql<boolean>`t.text_index MATCH ${match}`);
}

/**
 * No execution of a lower number was accepted since. Clocks may have been set back, so it is a bound, not the answer;
 * what is not indexed yet lies above the watermark.
 */
function firstSince(since: string) {
  return sql<number>`coalesce(
    min((SELECT min(number) FROM searchable INDEXED BY searchable_accepted WHERE accepted_at >= ${since}), (SELECT watermark + 1 FROM text_index_state)),
    (SELECT watermark + 1 FROM text_index_state))`;
}

/** Stored instants are UTC with milliseconds, which order as text does. */
function instant(text: string): string {
  return new Date(text).toISOString();
}

/** The first bytes of a text column, enough for this many characters. SQLite's text functions end at a NUL. */
function head(column: "code" | "stdout" | "result_text" | "error_message", characters: number) {
  return sql<Uint8Array | null>`substr(CAST(${sql.ref(column)} AS BLOB), 1, ${sql.lit(characters * 4)})`;
}

function summaries(page: readonly number[], withVariables: boolean) {
  return composer
    .selectFrom("executions")
    .select(["id", "session", "generation", "revision", "parent", "status", "accepted_at", "started_at"])
    .select(["duration_ms", "error_type"])
    .select([
      head("code", SUMMARY.code).as("code"),
      head("stdout", SUMMARY.stdout).as("stdout"),
      head("result_text", SUMMARY.result).as("result"),
      head("error_message", SUMMARY.error).as("error"),
    ])
    .$if(withVariables, (q) => q.select(variablesOf("record").as("variables")))
    .where("number", "in", page)
    .orderBy("number", "desc");
}

type SummaryRow = ReturnType<typeof summaries> extends Compilable<infer Row> ? Row : never;

/** `fits`: tells the changes that were asked for. */
function summaryOf(row: SummaryRow, fits: Fitting | null): ExecutionSummary {
  const message = first(row.error, SUMMARY.error);
  const error = row.error_type === null || message === "" ? row.error_type : `${row.error_type}: ${message}`;
  return {
    id: row.id,
    session: row.session,
    generation: row.generation,
    revision: row.revision,
    parent: row.parent,
    status: row.status as ExecutionSummary["status"],
    started_at: row.started_at ?? row.accepted_at,
    duration_ms: row.duration_ms,
    code: first(row.code, SUMMARY.code),
    result: row.result === null ? null : first(row.result, SUMMARY.result),
    error,
    stdout: first(row.stdout, SUMMARY.stdout),
    ...(fits === null || !row.variables ? {} : { variables: fits(row.variables) }),
  };
}

/** A cut last character is left out: the bytes are enough without it. */
function first(bytes: Uint8Array | null, characters: number): string {
  if (bytes === null) return "";
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: true });
  return Array.from(text).slice(0, characters).join("");
}
