/** One SQLite connection with its prepared statements, and how the history database is opened. */
import {
  closeSync,
  fdatasyncSync,
  ftruncateSync,
  openSync,
  readSync,
  statfsSync,
  statSync,
  writeSync,
} from "node:fs";
import path from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { Refusal } from "../../memory/ports/failure.ts";
import { LATEST_VERSION, MIGRATIONS } from "./migrations/migrations.ts";

/** Marks a SQLite file as an execute-code history: "exec". */
const APPLICATION_ID = 0x65786563;
const HEADER_MAGIC = "SQLite format 3\0";
const HEADER_BYTES = 100;
const HEADER_USER_VERSION = 60;
/** How long to wait for a lock that another program holds on the file, milliseconds. */
const BUSY_MS = 2_000;
/** A little more than the 1,000 frames at which an idle writer checkpoints. */
const WAL_BYTES = 4_500_000;
/** The free space, in WALs, from which on one is given its blocks in advance. */
const PLENTY = 8;

export class Connection {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get inTransaction(): boolean {
    return this.#database.isTransaction;
  }

  /** The caller names the row's shape: it is the one of its own SQL. */
  get<Row>(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values) as Row | undefined;
  }

  all<Row>(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values) as Row[];
  }

  /** The number of rows that were changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  exec(sql: string): void {
    this.#database.exec(sql);
  }

  /** Makes a function of one text, or NULL, known to SQL; one of its name is replaced. It must not use the connection. */
  define(name: string, calculate: (text: string | null) => number): void {
    this.#database.function(name, (text) => calculate(typeof text === "string" ? text : null));
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/**
 * Opens the database for writing; creates or migrates it. A file it cannot use is left as it was.
 * Only for a process that has no connection to the file: closing the descriptor that looks at the file's first
 * bytes drops every POSIX lock that the process holds on it. `reopenWriter` does not look.
 */
export function openWriter(file: string): Connection {
  refuseUnusable(file);
  const connection = reopenWriter(file);
  growWal(`${file}-wal`);
  return connection;
}

export function reopenWriter(file: string): Connection {
  // Created here for its mode, which the -wal and -shm files follow.
  if (sizeOf(file) === 0) closeSync(openSync(file, "a", 0o600));
  const connection = new Connection(new DatabaseSync(file, { timeout: BUSY_MS }));
  try {
    prepare(connection);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

/**
 * Gives an empty WAL its blocks in advance: a sync of blocks that the file has takes half the time of one that makes
 * it grow. A WAL of zeros is an empty one to SQLite. On a disk without plenty of room the WAL starts small.
 */
function growWal(wal: string): void {
  if (sizeOf(wal) > 0) return;
  const { bavail, bsize } = statfsSync(path.dirname(wal));
  if (bavail * bsize < PLENTY * WAL_BYTES) return;
  let descriptor: number | null = null;
  try {
    descriptor = openSync(wal, "a", 0o600);
    writeSync(descriptor, Buffer.alloc(WAL_BYTES));
    fdatasyncSync(descriptor);
  } catch {
    if (descriptor !== null) ftruncateSync(descriptor, 0);
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}

/** For searches: never writes. The database must have been opened by the writer before. */
export function openReader(file: string): Connection {
  const connection = new Connection(new DatabaseSync(file, { readOnly: true, timeout: BUSY_MS }));
  connection.exec("PRAGMA cache_size = -16000");
  return connection;
}

export function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function prepare(connection: Connection): void {
  const version = versionOf(connection);
  if (version === 0 && connection.get("SELECT 1 FROM sqlite_schema LIMIT 1") !== undefined) throw foreign();
  // Checkpoints are made when the writer is idle, never by the commit that happens to reach a size. Foreign keys are
  // declared for the reader of the schema: no row that another refers to is ever deleted.
  connection.exec("PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -16000; PRAGMA foreign_keys = OFF");
  if (version < LATEST_VERSION) migrate(connection, version);
  else if (
    connection.get<{ application_id: number }>("PRAGMA application_id")?.application_id !== APPLICATION_ID
  ) {
    throw foreign();
  }
  // The newest row of each table: an early word about a file whose first page only is sound.
  connection.get("SELECT * FROM executions ORDER BY number DESC LIMIT 1");
  connection.get("SELECT * FROM sessions LIMIT 1");
}

function migrate(connection: Connection, from: number): void {
  // Synced: a database file without content beside a WAL with content would lose the WAL.
  connection.exec("PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL");
  for (const migration of MIGRATIONS.slice(from)) {
    connection.exec("BEGIN IMMEDIATE");
    try {
      connection.exec(migration.sql);
      connection.exec(
        `PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${migration.version}; COMMIT`,
      );
    } catch (error) {
      if (connection.inTransaction) connection.exec("ROLLBACK");
      throw error;
    }
  }
  connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
}

/**
 * Judges the file before SQLite may write to it: opening a database replays its WAL, and closing it writes the
 * WAL back, which must not happen to a file of a newer version.
 */
function refuseUnusable(file: string): void {
  const size = sizeOf(file);
  const pending = sizeOf(`${file}-wal`);
  if (size === 0) {
    // SQLite would delete the WAL of an empty database.
    if (pending > 0)
      throw new Refusal("database_damaged", { file, reason: "the file is empty, its WAL is not" });
    return;
  }
  const header = Buffer.alloc(HEADER_BYTES);
  const descriptor = openSync(file, "r");
  try {
    readSync(descriptor, header, 0, HEADER_BYTES, 0);
  } finally {
    closeSync(descriptor);
  }
  if (size < HEADER_BYTES || header.toString("latin1", 0, HEADER_MAGIC.length) !== HEADER_MAGIC) {
    throw new Refusal("database_damaged", { file, reason: "not a SQLite database" });
  }
  refuseNewer(header.readUInt32BE(HEADER_USER_VERSION), file);
  if (pending > 0) {
    const probe = new Connection(new DatabaseSync(file, { readOnly: true, timeout: BUSY_MS }));
    try {
      refuseNewer(versionOf(probe), file);
    } finally {
      probe.close();
    }
  }
}

function versionOf(connection: Connection): number {
  return connection.get<{ user_version: number }>("PRAGMA user_version")?.user_version ?? 0;
}

function refuseNewer(version: number, file: string): void {
  if (version > LATEST_VERSION) {
    throw new Refusal("database_newer", { file, database: version, supported: LATEST_VERSION });
  }
}

function foreign(): Refusal {
  return new Refusal("database_damaged", { reason: "a SQLite database, but not an execute-code history" });
}
