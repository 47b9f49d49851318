/**
 * The writer's operations. Each judges its request before it writes, so a Refusal leaves the transaction of its
 * batch as it was. SQL here is fixed text, prepared once; composed queries are in search.ts.
 */
import type { SQLInputValue } from "node:sqlite";
import { Refusal } from "../../memory/ports/failure.ts";
import type { SmallContent } from "../../memory/ports/store.ts";
import { type Connection, sizeOf } from "./connection.ts";
import type { ExecutionRows, ReadOperations, WriteOperations } from "./protocol.ts";
import {
  ACCEPTED_COLUMNS,
  type ArtifactRow,
  type CaptureRow,
  type ExecutionRow,
  FINISHED_COLUMNS,
  type InstallationRow,
  interruptedRecord,
  type LateRow,
  type LineRow,
  type SessionRow,
} from "./rows.ts";

const SESSION_COLUMNS =
  "id, name, language, python, durability, on_busy, isolation, profile, packages, owner, epoch, generation, revision, created_at, closed_at, used_at, snapshots, capture, forked_from, folder, head";

interface Fence {
  readonly owner: string;
  readonly epoch: number;
  readonly released_at: string | null;
}

const SQL = {
  fence: "SELECT owner, epoch, released_at FROM sessions WHERE id = ?",
  sessionById: `SELECT ${SESSION_COLUMNS} FROM sessions WHERE id = ?`,
  sessionByName: `SELECT ${SESSION_COLUMNS} FROM sessions WHERE name = ?
    ORDER BY closed_at IS NOT NULL, closed_at DESC, id DESC LIMIT 1`,
  openSessions: `SELECT ${SESSION_COLUMNS} FROM sessions WHERE closed_at IS NULL ORDER BY used_at DESC, id DESC`,
  allSessions: `SELECT ${SESSION_COLUMNS} FROM sessions ORDER BY used_at DESC, id DESC`,
  openNamed: "SELECT id FROM sessions WHERE name = ? AND closed_at IS NULL",
  insertSession: `INSERT INTO sessions (${SESSION_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  dropSession: `DELETE FROM sessions WHERE id = ?1
    AND NOT EXISTS (SELECT 1 FROM executions WHERE session_id = ?1)`,
  closeSession: "UPDATE sessions SET closed_at = ? WHERE id = ? AND closed_at IS NULL",
  beginGeneration: "UPDATE sessions SET generation = ? WHERE id = ?",
  useSession: `UPDATE sessions SET revision = CASE WHEN revision < ?2 THEN ?2 ELSE revision END,
    used_at = CASE WHEN used_at < ?3 THEN ?3 ELSE used_at END, head = ?4 WHERE id = ?1`,
  setHead: "UPDATE sessions SET head = ? WHERE id = ?",
  takeLease: "UPDATE sessions SET owner = ?, epoch = ?, released_at = NULL WHERE id = ?",
  releaseLease: "UPDATE sessions SET released_at = ? WHERE id = ?",

  byKey: "SELECT id, idempotency_digest AS digest FROM executions WHERE idempotency_key = ?",
  accept: `INSERT OR IGNORE INTO executions (${ACCEPTED_COLUMNS.join(", ")}, generation, revision, status, duration_ms, stdout, stderr, timeline)
    SELECT ${ACCEPTED_COLUMNS.map(() => "?").join(", ")}, generation, revision, 'running', 0, '', '', '[]'
    FROM sessions WHERE id = ? AND epoch = ?`,
  markStarted: "UPDATE executions SET started_at = ? WHERE id = ? AND status = 'running'",
  sessionOf: "SELECT session_id FROM executions WHERE id = ?",
  finish: `UPDATE executions SET ${FINISHED_COLUMNS.map((column) => `${column} = ?`).join(", ")}
    WHERE id = ? AND session_id = ? AND status = 'running'
    AND EXISTS (SELECT 1 FROM sessions WHERE id = ? AND epoch = ?)`,
  known: "SELECT 1 FROM executions WHERE id = ? AND session_id = ?",
  insertArtifact: `INSERT INTO artifacts (execution_id, number, uri, mime, bytes, sha256, source, display)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  execution: "SELECT * FROM executions WHERE id = ?",
  executionsAfter: `SELECT * FROM executions WHERE session_id = ?1 AND status <> 'running'
    AND number > coalesce((SELECT number FROM executions WHERE id = ?2), 0) ORDER BY number LIMIT ?3`,
  // From the head back to the beginning; `step` keeps a damaged line from going on for ever.
  line: `WITH RECURSIVE line (id, step) AS (
      SELECT ?1, 0 UNION ALL
      SELECT e.parent, line.step + 1 FROM line JOIN executions e ON e.id = line.id
      WHERE e.parent IS NOT NULL AND line.step < 1000000)
    SELECT e.id, e.session_id, e.revision, e.parent, e.status, e.accepted_at, e.started_at, e.code, e.record
    FROM line JOIN executions e ON e.id = line.id ORDER BY line.step DESC`,
  lineIds: `WITH RECURSIVE line (id, parent, step) AS (
      SELECT id, parent, 0 FROM executions WHERE id = ?1 UNION ALL
      SELECT e.id, e.parent, line.step + 1 FROM line JOIN executions e ON e.id = line.parent
      WHERE line.step < 1000000)
    SELECT id FROM line ORDER BY step DESC`,
  insertCapture: `INSERT INTO captures (id, session_id, name, execution_id, generation, revision, created_at, bytes,
    new_bytes, manifest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  insertContent: "INSERT INTO capture_contents (digest, capture_id) VALUES (?, ?)",
  captures: "SELECT * FROM captures WHERE session_id = ? ORDER BY created_at DESC, id DESC",
  contentsOf: "SELECT digest FROM capture_contents WHERE capture_id = ?",
  insertSmall: "INSERT OR IGNORE INTO small_contents (digest, data) VALUES (?, ?)",
  deleteSmall: "DELETE FROM small_contents WHERE digest = ?",
  small: "SELECT digest, data FROM small_contents WHERE digest = ?",
  deleteContents: "DELETE FROM capture_contents WHERE capture_id = ?",
  deleteCapture: "DELETE FROM captures WHERE id = ?",
  needed: "SELECT 1 FROM capture_contents WHERE digest = ? LIMIT 1",
  artifacts: `SELECT number, uri, mime, bytes, sha256, source, display FROM artifacts
    WHERE execution_id = ? ORDER BY number`,
  appendLate: `INSERT INTO late_output (execution_id, number, stream, text)
    SELECT ?1, (SELECT count(*) FROM late_output WHERE execution_id = ?1), ?2, ?3`,
  insertInstallation: `INSERT INTO installations (session_id, execution_id, at, requested, installed)
    VALUES (?, ?, ?, ?, ?)`,
  setPackages: "UPDATE sessions SET packages = ? WHERE id = ?",
  installations: `SELECT session_id, execution_id, at, requested, installed FROM installations
    WHERE session_id = ? ORDER BY number`,
  late: "SELECT execution_id AS execution, stream, text FROM late_output WHERE execution_id = ? ORDER BY number",
  refersTo: "SELECT 1 FROM artifacts WHERE sha256 = ? LIMIT 1",
  // The last condition names the partial index, which holds only what is unfinished or failed.
  unfinished: `SELECT e.number, e.id, e.started_at, e.cause, e.isolation, e.durability
    FROM executions e INDEXED BY executions_not_ok JOIN sessions s ON s.id = e.session_id
    WHERE e.status = 'running' AND e.status <> 'ok' AND s.owner = ? ORDER BY e.number`,
  interrupt: `UPDATE executions SET status = 'interrupted', finished_at = ?, error_type = 'Interrupted',
    error_message = ?, imports = '[]', record = ? WHERE number = ?`,
} as const;

const RAN = "The daemon ended while it ran; it was not run again.";
const WAITED = "The daemon ended before it ran; it was not run.";

export function writeOperations(
  connection: Connection,
  /** Told of every execution that the current transaction finishes. */
  finished: (id: string) => void,
): WriteOperations {
  function fence(sessionId: string): Fence {
    const found = connection.get<Fence>(SQL.fence, sessionId);
    if (found === undefined) throw new Refusal("unknown_session", { session: sessionId });
    return found;
  }

  function checkEpoch(sessionId: string, epoch: number): void {
    const { owner, epoch: current } = fence(sessionId);
    if (current !== epoch) throw new Refusal("stale_epoch", { session: sessionId, owner, epoch: current });
  }

  /** Why a statement that names the epoch wrote nothing. */
  function notWritten(sessionId: string, epoch: number): Error {
    checkEpoch(sessionId, epoch);
    return new Error("the statement wrote no row");
  }

  return {
    createSession(session) {
      const open = connection.get<{ id: string }>(SQL.openNamed, session.name);
      if (open !== undefined) throw new Refusal("session_exists", { name: session.name, session: open.id });
      connection.run(SQL.insertSession, ...sessionValues(session));
    },

    dropSession(id, epoch) {
      checkEpoch(id, epoch);
      if (connection.run(SQL.dropSession, id) === 0) throw new Error(`the session ${id} has a history`);
    },

    closeSession(id, epoch, closedAt) {
      checkEpoch(id, epoch);
      connection.run(SQL.closeSession, closedAt, id);
    },

    beginGeneration(id, epoch, generation) {
      checkEpoch(id, epoch);
      connection.run(SQL.beginGeneration, generation, id);
    },

    accept(sessionId, epoch, key, digest, row) {
      const earlier =
        key === null ? undefined : connection.get<{ id: string; digest: string }>(SQL.byKey, key);
      if (earlier !== undefined && earlier.id !== row[0]) {
        checkEpoch(sessionId, epoch);
        if (earlier.digest !== digest) throw new Refusal("idempotency_conflict", { execution: earlier.id });
        return { kind: "duplicate", id: earlier.id };
      }
      if (connection.run(SQL.accept, ...row, sessionId, epoch) === 0) {
        // A promised write that is applied again.
        if (connection.get(SQL.known, row[0] ?? null, sessionId) === undefined)
          throw notWritten(sessionId, epoch);
      }
      return { kind: "accepted" };
    },

    markStarted(id, epoch, startedAt) {
      const found = connection.get<{ session_id: string }>(SQL.sessionOf, id);
      if (found === undefined) throw new Refusal("unknown_execution", { execution: id });
      checkEpoch(found.session_id, epoch);
      connection.run(SQL.markStarted, startedAt, id);
    },

    finish(_synced, sessionId, epoch, id, row, artifacts, head) {
      if (connection.run(SQL.finish, ...row, id, sessionId, sessionId, epoch) === 0) {
        checkEpoch(sessionId, epoch);
        // A repeat, after an answer that was lost: the first one stands.
        if (connection.get(SQL.known, id, sessionId) !== undefined) return;
        throw new Refusal("unknown_execution", { execution: id });
      }
      for (const artifact of artifacts) connection.run(SQL.insertArtifact, ...artifactValues(id, artifact));
      const [, revision, , , startedAt] = row;
      connection.run(SQL.useSession, sessionId, revision ?? 0, startedAt ?? "", head);
      finished(id);
    },

    setHead(sessionId, epoch, head) {
      checkEpoch(sessionId, epoch);
      connection.run(SQL.setHead, head, sessionId);
    },

    addCapture(epoch, row, digests, small) {
      checkEpoch(row.session_id, epoch);
      connection.run(SQL.insertCapture, ...captureValues(row));
      for (const digest of digests) connection.run(SQL.insertContent, digest, row.id);
      for (const { digest, data } of small) connection.run(SQL.insertSmall, digest, data);
    },

    removeCaptures(ids, pinned) {
      const contents = new Set<string>();
      for (const id of ids) {
        for (const { digest } of connection.all<{ digest: string }>(SQL.contentsOf, id)) contents.add(digest);
        connection.run(SQL.deleteContents, id);
        connection.run(SQL.deleteCapture, id);
      }
      for (const digest of pinned) contents.delete(digest);
      const free = [...contents].filter((digest) => connection.get(SQL.needed, digest) === undefined);
      for (const digest of free) connection.run(SQL.deleteSmall, digest);
      return free;
    },

    appendLate(epoch, rows) {
      for (const { execution, stream, text } of rows) {
        const found = connection.get<{ session_id: string }>(SQL.sessionOf, execution);
        if (found === undefined) throw new Refusal("unknown_execution", { execution });
        checkEpoch(found.session_id, epoch);
        connection.run(SQL.appendLate, execution, stream, text);
      }
    },

    appendInstallation(epoch, row, packages) {
      checkEpoch(row.session_id, epoch);
      const { session_id, execution_id, at, requested, installed } = row;
      connection.run(SQL.insertInstallation, session_id, execution_id, at, requested, installed);
      connection.run(SQL.setPackages, packages, session_id);
    },

    recover(owner, at) {
      type Unfinished = Pick<
        ExecutionRow,
        "number" | "id" | "started_at" | "cause" | "isolation" | "durability"
      >;
      const rows = connection.all<Unfinished>(SQL.unfinished, owner);
      for (const row of rows) {
        connection.run(
          SQL.interrupt,
          at,
          row.started_at === null ? WAITED : RAN,
          interruptedRecord(row),
          row.number,
        );
        finished(row.id);
      }
      return rows.map((row) => row.id);
    },

    acquireLease(sessionId, owner) {
      const held = fence(sessionId);
      if (held.owner === owner && held.released_at === null) return { owner, epoch: held.epoch };
      connection.run(SQL.takeLease, owner, held.epoch + 1, sessionId);
      return { owner, epoch: held.epoch + 1 };
    },

    releaseLease(sessionId, owner, epoch, at) {
      checkEpoch(sessionId, epoch);
      const held = fence(sessionId);
      if (held.owner !== owner)
        throw new Refusal("stale_epoch", { session: sessionId, owner: held.owner, epoch });
      connection.run(SQL.releaseLease, at, sessionId);
    },
  };
}

export function readOperations(connection: Connection, file: string): ReadOperations {
  const whole = (row: ExecutionRow): ExecutionRows => ({
    row,
    artifacts: connection.all<ArtifactRow>(SQL.artifacts, row.id),
    late: connection.all<LateRow>(SQL.late, row.id),
  });
  return {
    findSession: (by, ref) =>
      connection.get<SessionRow>(by === "id" ? SQL.sessionById : SQL.sessionByName, ref) ?? null,

    listSessions: (closed) => connection.all<SessionRow>(closed ? SQL.allSessions : SQL.openSessions),

    listInstallations: (sessionId) => connection.all<InstallationRow>(SQL.installations, sessionId),

    smallContents: (digests) =>
      digests.flatMap((digest) => connection.get<SmallContent>(SQL.small, digest) ?? []),

    getExecution(id) {
      const row = connection.get<ExecutionRow>(SQL.execution, id);
      return row === undefined ? null : whole(row);
    },

    listExecutions: (sessionId, after, limit) =>
      connection.all<ExecutionRow>(SQL.executionsAfter, sessionId, after, limit).map(whole),

    line: (head) => (head === null ? [] : connection.all<LineRow>(SQL.line, head)),

    lineIds: (head) => connection.all<{ id: string }>(SQL.lineIds, head).map((row) => row.id),

    listCaptures: (sessionId) => connection.all<CaptureRow>(SQL.captures, sessionId),

    keptContents: (digests) => digests.filter((digest) => connection.get(SQL.needed, digest) !== undefined),

    refersTo: (sha256) => connection.get(SQL.refersTo, sha256) !== undefined,

    stats: () => ({
      executions: count(connection, "executions"),
      sessions: count(connection, "sessions"),
      bytes: sizeOf(file) + sizeOf(`${file}-wal`),
      schema: connection.get<{ user_version: number }>("PRAGMA user_version")?.user_version ?? 0,
      sqlite: connection.get<{ version: string }>("SELECT sqlite_version() AS version")?.version ?? "",
    }),
  };
}

function count(connection: Connection, table: "executions" | "sessions"): number {
  return connection.get<{ rows: number }>(`SELECT count(*) AS rows FROM ${table}`)?.rows ?? 0;
}

function sessionValues(session: SessionRow): SQLInputValue[] {
  return [
    session.id,
    session.name,
    session.language,
    session.python,
    session.durability,
    session.on_busy,
    session.isolation,
    session.profile,
    session.packages,
    session.owner,
    session.epoch,
    session.generation,
    session.revision,
    session.created_at,
    session.closed_at,
    session.used_at,
    session.snapshots,
    session.capture,
    session.forked_from,
    session.folder,
    session.head,
  ];
}

function captureValues(row: CaptureRow): SQLInputValue[] {
  return [
    row.id,
    row.session_id,
    row.name,
    row.execution_id,
    row.generation,
    row.revision,
    row.created_at,
    row.bytes,
    row.new_bytes,
    row.manifest,
  ];
}

function artifactValues(execution: string, artifact: ArtifactRow): SQLInputValue[] {
  return [
    execution,
    artifact.number,
    artifact.uri,
    artifact.mime,
    artifact.bytes,
    artifact.sha256,
    artifact.source,
    artifact.display,
  ];
}
