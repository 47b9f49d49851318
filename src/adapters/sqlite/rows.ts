/**
 * Records to rows and back. Texts that are searched or shown in lists have columns; the rest of a record is one
 * JSON text, so that a record comes back exactly as it was finished.
 */
import { Profile } from "../../contract/profile.ts";
import type {
  Artifact,
  Cause,
  Effect,
  ExecutionError,
  ExecutionRecord,
  InstalledPackage,
  LateOutput,
  Lineage,
  RestoreDigest,
} from "../../contract/records.ts";
import { CaptureManifest } from "../../contract/time-travel.ts";
import type {
  AcceptedExecution,
  FinishedExecution,
  LineExecution,
  StoredCapture,
  StoredExecution,
  StoredInstallation,
  StoredSession,
  StoredTimeline,
} from "../../memory/ports/store.ts";
import { checked, withChecksum } from "./checksum.ts";

export type Value = string | number | null;

/** A row of `sessions`: as the session, with JSON texts. */
export interface SessionRow extends Omit<StoredSession, "profile" | "packages" | "forked_from" | "folder"> {
  readonly profile: string;
  readonly packages: string;
  readonly forked_from: string | null;
  readonly folder: string | null;
}

export function sessionRow(session: StoredSession): SessionRow {
  return {
    ...session,
    profile: JSON.stringify(session.profile),
    packages: JSON.stringify(session.packages),
    forked_from: session.forked_from === null ? null : JSON.stringify(session.forked_from),
  };
}

export function storedSession(row: SessionRow): StoredSession {
  return {
    ...row,
    profile: Profile.parse(JSON.parse(row.profile)),
    packages: JSON.parse(row.packages) as InstalledPackage[],
    forked_from: row.forked_from === null ? null : (JSON.parse(row.forked_from) as Lineage),
    folder: row.folder ?? row.id,
  };
}

/** A row of `installations`. */
export interface InstallationRow {
  readonly session_id: string;
  readonly execution_id: string | null;
  readonly at: string;
  readonly requested: string;
  readonly installed: string;
}

export function installationRow(session: string, installation: StoredInstallation): InstallationRow {
  const { execution, at, requested, installed } = installation;
  return {
    session_id: session,
    execution_id: execution,
    at,
    requested: JSON.stringify(requested),
    installed: JSON.stringify(installed),
  };
}

export function storedInstallation(row: InstallationRow): StoredInstallation {
  return {
    requested: JSON.parse(row.requested) as string[],
    installed: JSON.parse(row.installed) as InstalledPackage[],
    at: row.at,
    execution: row.execution_id,
  };
}

/** A row of `executions`, as it is read. */
export interface ExecutionRow {
  readonly number: number;
  readonly id: string;
  readonly session_id: string;
  readonly session: string;
  readonly generation: number;
  readonly revision: number;
  readonly parent: string | null;
  readonly language: string;
  readonly status: string;
  readonly accepted_at: string;
  readonly started_at: string | null;
  readonly duration_ms: number;
  readonly cause: string;
  readonly isolation: string;
  readonly durability: string;
  readonly error_type: string | null;
  readonly error_message: string | null;
  readonly result_text: string | null;
  readonly code: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly timeline: string;
  readonly record: string | null;
}

/** The columns that `accept` writes, in order; generation and revision come from the session. */
export const ACCEPTED_COLUMNS = [
  "id",
  "session_id",
  "session",
  "epoch",
  "language",
  "code",
  "cause",
  "durability",
  "accepted_at",
  "started_at",
  "isolation",
  "idempotency_key",
  "idempotency_digest",
] as const;
export type AcceptedRow = readonly Value[];

/** The columns that `finish` writes, in order. */
export const FINISHED_COLUMNS = [
  "generation",
  "revision",
  "parent",
  "status",
  "started_at",
  "finished_at",
  "duration_ms",
  "ast_hash",
  "error_fingerprint",
  "imports",
  "error_type",
  "error_message",
  "result_text",
  "code",
  "stdout",
  "stderr",
  "timeline",
  "record",
] as const;
export type FinishedRow = readonly Value[];

export interface ArtifactRow {
  readonly number: number;
  readonly uri: string;
  readonly mime: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly source: string;
  readonly display: number | null;
}

/** A piece of late output, as it is stored and read. */
export type LateRow = LateOutput;

/** What an execution can be found by. */
export interface Texts {
  readonly code: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly result_text: string | null;
  readonly error_type: string | null;
  readonly error_message: string | null;
}

/** SQLite keeps UTF-8, which has no lone surrogates: what has some goes into the JSON as well, which escapes them. */
type IllFormed = { readonly [Column in keyof Texts]?: string };

/** Fields of a record that have columns, or rows, of their own. */
const OWN = {
  id: undefined,
  session: undefined,
  session_id: undefined,
  generation: undefined,
  revision: undefined,
  parent: undefined,
  language: undefined,
  status: undefined,
  code: undefined,
  stdout: undefined,
  stderr: undefined,
  result: undefined,
  error: undefined,
  artifacts: undefined,
  started_at: undefined,
  duration_ms: undefined,
} as const;

type Identity =
  | "id"
  | "session"
  | "session_id"
  | "generation"
  | "revision"
  | "parent"
  | "language"
  | "status";
type Rest = Omit<ExecutionRecord, keyof typeof OWN>;

interface StoredRest {
  readonly rest: Rest;
  readonly mime: NonNullable<ExecutionRecord["result"]>["mime"] | null;
  readonly error: Omit<ExecutionError, "type" | "message"> | null;
  readonly ill_formed?: IllFormed;
}

export function acceptedRow(execution: AcceptedExecution): AcceptedRow {
  return [
    execution.id,
    execution.session_id,
    execution.session,
    execution.epoch,
    execution.language,
    execution.code,
    JSON.stringify(execution.cause),
    execution.durability,
    execution.accepted_at,
    execution.started_at,
    execution.isolation,
    execution.idempotency?.key ?? null,
    execution.idempotency?.digest ?? null,
  ];
}

export function finishedRow({ record, timeline }: FinishedExecution, finishedAt: string): FinishedRow {
  const { result, error, features, code, stdout, stderr } = record;
  const texts: Texts = {
    code,
    stdout,
    stderr,
    result_text: result?.text ?? null,
    error_type: error?.type ?? null,
    error_message: error?.message ?? null,
  };
  // JSON leaves out what is undefined.
  const stored = {
    rest: { ...record, ...OWN },
    mime: result?.mime ?? null,
    error: error === null ? null : { ...error, type: undefined, message: undefined },
    ill_formed: illFormed(texts),
  };
  return [
    record.generation,
    record.revision,
    record.parent,
    record.status,
    record.started_at,
    finishedAt,
    record.duration_ms,
    features.ast_hash,
    features.error_fingerprint,
    JSON.stringify(features.imports),
    texts.error_type,
    texts.error_message,
    texts.result_text,
    code,
    stdout,
    stderr,
    JSON.stringify(timeline),
    JSON.stringify(stored),
  ];
}

function illFormed(texts: Texts): IllFormed | undefined {
  let found: Record<string, string> | undefined;
  for (const [column, text] of Object.entries(texts)) {
    if (text === null || text.isWellFormed()) continue;
    found ??= {};
    found[column] = text;
  }
  return found;
}

export function artifactRows(artifacts: readonly Artifact[]): ArtifactRow[] {
  return artifacts.map(({ number, uri, mime, bytes, sha256, source, display }) => ({
    number,
    uri,
    mime,
    bytes,
    sha256,
    source,
    display,
  }));
}

/** Rows hold only what was written from parsed records, so their literal types are taken as read. */
export function storedExecution(
  row: ExecutionRow,
  artifacts: readonly ArtifactRow[],
  late: readonly LateRow[],
): StoredExecution {
  const record = row.record === null ? unfinishedRecord(row) : finishedRecord(row, row.record, artifacts);
  return {
    record: { ...record, late: [...joined(late), ...record.late] },
    timeline: JSON.parse(row.timeline) as StoredTimeline,
  };
}

/** The pieces of each stream together. */
function joined(pieces: readonly LateRow[]): LateOutput[] {
  const streams = new Map<string, LateOutput>();
  for (const piece of pieces) {
    const earlier = streams.get(piece.stream);
    streams.set(
      piece.stream,
      earlier === undefined ? piece : { ...earlier, text: earlier.text + piece.text },
    );
  }
  return [...streams.values()];
}

function identity(row: ExecutionRow): Pick<ExecutionRecord, Identity> {
  return {
    id: row.id,
    session: row.session,
    session_id: row.session_id,
    generation: row.generation,
    revision: row.revision,
    parent: row.parent,
    language: row.language as ExecutionRecord["language"],
    status: row.status as ExecutionRecord["status"],
  };
}

function finishedRecord(row: ExecutionRow, json: string, artifacts: readonly ArtifactRow[]): ExecutionRecord {
  const { rest, mime, error, ill_formed } = JSON.parse(json) as StoredRest;
  // Records of earlier schemas lack some.
  const { inputs = [], input_requested = null, rolled_back = null, restore = null } = rest as Partial<Rest>;
  const texts = { ...row, ...ill_formed };
  return {
    ...identity(row),
    ...rest,
    inputs,
    input_requested,
    rolled_back: rolled_back && { ...rolled_back, ended: rolled_back.ended ?? null },
    restore: restore && { ...restore, altered: (restore as Partial<RestoreDigest>).altered ?? [] },
    code: texts.code,
    stdout: texts.stdout,
    stderr: texts.stderr,
    result: mime === null ? null : { text: texts.result_text ?? "", mime },
    error:
      error === null ? null : { type: texts.error_type ?? "", message: texts.error_message ?? "", ...error },
    started_at: row.started_at ?? row.accepted_at,
    duration_ms: row.duration_ms,
    artifacts: artifacts.map((artifact) => ({ ...artifact, source: artifact.source as Artifact["source"] })),
  };
}

/** What an unfinished execution's record says beside its columns. */
function emptyRest(row: Pick<ExecutionRow, "cause" | "isolation" | "durability">): Rest {
  return {
    displays: [],
    late: [],
    inputs: [],
    input_requested: null,
    cpu_ms: 0,
    peak_memory_bytes: 0,
    variables: { added: [], changed: [], deleted: [] },
    rolled_back: null,
    restore: null,
    effects: [],
    directives: [],
    truncated: { stdout_bytes: 0, stderr_bytes: 0 },
    features: { ast_hash: null, error_fingerprint: null, imports: [] },
    cause: JSON.parse(row.cause) as Cause,
    isolation: row.isolation as Rest["isolation"],
    state: "retained",
    durability: row.durability as Rest["durability"],
    offset: 0,
  };
}

function unfinishedRecord(row: ExecutionRow): ExecutionRecord {
  return {
    ...identity(row),
    ...emptyRest(row),
    code: row.code,
    stdout: "",
    stderr: "",
    result: null,
    error: null,
    started_at: row.started_at ?? row.accepted_at,
    duration_ms: 0,
    artifacts: [],
  };
}

/** The `record` column of an execution that the daemon's end cut off: its kernel, and with it every variable, is gone. */
export function interruptedRecord(
  row: Pick<ExecutionRow, "cause" | "isolation" | "durability" | "started_at">,
): string {
  const unknown: Effect = { kind: "unknown", target: "the daemon ended before it could tell", count: 1 };
  const stored: StoredRest = {
    rest: { ...emptyRest(row), state: "lost", effects: row.started_at === null ? [] : [unknown] },
    mime: null,
    error: { traceback: "", line: null, column: null, frames: [] },
  };
  return JSON.stringify(stored);
}

/** What `line` reads of a row of `executions`. */
export type LineRow = Pick<
  ExecutionRow,
  "id" | "session_id" | "revision" | "parent" | "status" | "accepted_at" | "started_at" | "code" | "record"
>;

export function lineExecution(row: LineRow): LineExecution {
  const stored = row.record === null ? null : (JSON.parse(row.record) as StoredRest);
  const { variables, effects } = stored?.rest ?? {
    variables: { added: [], changed: [], deleted: [] },
    effects: [],
  };
  return {
    id: row.id,
    session_id: row.session_id,
    revision: row.revision,
    parent: row.parent,
    code: stored?.ill_formed?.code ?? row.code,
    status: row.status as LineExecution["status"],
    started_at: row.started_at ?? row.accepted_at,
    variables,
    effects,
  };
}

/** A row of `captures`. */
export interface CaptureRow extends Omit<StoredCapture, "execution" | "manifest"> {
  readonly execution_id: string | null;
  readonly manifest: string;
}

export function captureRow({ execution, manifest, ...capture }: StoredCapture): CaptureRow {
  return { ...capture, execution_id: execution, manifest: withChecksum(JSON.stringify(manifest)) };
}

/** Null when the manifest is not as it was written: the database does not notice a bit that flips on the disk. */
export function storedCapture({ execution_id, manifest, ...row }: CaptureRow): StoredCapture | null {
  const json = checked(manifest);
  if (json === null) return null;
  return { ...row, execution: execution_id, manifest: CaptureManifest.parse(JSON.parse(json)) };
}
