/** Sessions and records for the store's contract; every field can be replaced. */
import { Profile } from "../../src/contract/profile.ts";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import type { AcceptedExecution, StoredCapture, StoredSession } from "../../src/memory/ports/store.ts";

let made = 0;

/** Ids in rising order. */
function nextId(kind: "exec" | "sess" | "cap"): string {
  made += 1;
  return `${kind}_${String(made).padStart(26, "0")}`;
}

export function aSession(fields: Partial<StoredSession> = {}): StoredSession {
  const id = fields.id ?? nextId("sess");
  return {
    id,
    name: "main",
    language: "python",
    python: null,
    durability: "relaxed",
    on_busy: "wait",
    snapshots: "changes",
    capture: "idle",
    forked_from: null,
    folder: id,
    head: null,
    profile: Profile.parse({}),
    packages: [],
    isolation: "sandbox",
    owner: "here",
    epoch: 1,
    generation: 0,
    revision: 0,
    created_at: "2026-11-22T09:00:00.000Z",
    closed_at: null,
    used_at: "2026-11-22T09:00:00.000Z",
    ...fields,
  };
}

export function anExecution(
  session: StoredSession,
  fields: Partial<AcceptedExecution> = {},
): AcceptedExecution {
  return {
    id: nextId("exec"),
    session_id: session.id,
    session: session.name,
    epoch: session.epoch,
    language: "python",
    code: "x = 41",
    cause: { kind: "client", client: "sdk" },
    durability: "relaxed",
    accepted_at: "2026-11-22T09:00:01.000Z",
    started_at: null,
    isolation: "sandbox",
    idempotency: null,
    ...fields,
  };
}

/** A capture of one variable, with these contents. */
export function aCapture(
  session: StoredSession,
  fields: Partial<StoredCapture> = {},
  contents: readonly string[] = ["a".repeat(64)],
): StoredCapture {
  const variable = { name: "df", type: "DataFrame", status: "captured" as const, bytes: 10, reason: null };
  return {
    id: nextId("cap"),
    session_id: session.id,
    name: null,
    execution: null,
    generation: 1,
    revision: 1,
    created_at: "2026-11-22T09:00:02.000Z",
    bytes: 10,
    new_bytes: 10,
    manifest: {
      version: 1,
      variables: [variable],
      blobs: contents.map((digest) => ({ digest, bytes: 10 })),
      // What the kernel alone reads.
      groups: [{ "\u0000 평균": [1.5, null] }],
    },
    ...fields,
  };
}

/** The record of the accepted execution, ended well. */
export function aRecord(
  execution: AcceptedExecution,
  fields: Partial<ExecutionRecord> = {},
): ExecutionRecord {
  return {
    id: execution.id,
    session: execution.session,
    session_id: execution.session_id,
    generation: 1,
    revision: 1,
    language: execution.language,
    status: "ok",
    code: execution.code,
    stdout: "",
    stderr: "",
    result: null,
    error: null,
    displays: [],
    late: [],
    inputs: [],
    input_requested: null,
    started_at: execution.accepted_at,
    duration_ms: 4.25,
    cpu_ms: 3.5,
    peak_memory_bytes: 10_485_760,
    variables: { added: [], changed: [], deleted: [] },
    parent: null,
    rolled_back: null,
    restore: null,
    effects: [],
    artifacts: [],
    directives: [],
    truncated: { stdout_bytes: 0, stderr_bytes: 0 },
    features: { ast_hash: null, error_fingerprint: null, imports: [] },
    cause: execution.cause,
    isolation: execution.isolation,
    state: "retained",
    durability: execution.durability,
    offset: 0,
    ...fields,
  };
}

/** A record with something in every field, and text that storage likes to spoil. */
export function fullRecord(execution: AcceptedExecution): ExecutionRecord {
  return aRecord(execution, {
    status: "error",
    generation: 3,
    revision: 17,
    stdout: "a\u0000b \ud800 lone \udfff \u{1F600} 평균\r\n\u001b[31mred\u001b[0m",
    stderr: "\ufeffwarning \ud83d",
    result: {
      text: "4\u00002 \udc00",
      mime: { "text/plain": "42", "application/json": { a: [1, null, "\u0000"] } },
    },
    error: {
      type: "ValueError",
      message: "bad \ud800 value\u0000",
      traceback: "Traceback …\n  x",
      line: 3,
      column: null,
      frames: [{ source: execution.id, function: "f", line: 3, text: "f(x)" }],
    },
    displays: [{ display_id: null, update: false, mime: { "text/html": "<b>x</b>" } }],
    late: [{ execution: "exec_00000000000000000000000zzz", stream: "stdout", text: "late" }],
    inputs: [{ prompt: "name? ", password: false, answer: "\u0000 \ud800" }],
    variables: {
      added: [{ name: "x", type: "int", preview: "41" }],
      changed: [{ name: "y", type: "str", preview: "'\u0000'" }],
      deleted: ["z"],
    },
    effects: [{ kind: "write", target: "/data/a\u0000", count: 2 }],
    artifacts: [
      {
        uri: `execute-code://executions/${execution.id}/artifacts/1`,
        number: 1,
        mime: "image/png",
        bytes: 2_048,
        sha256: "a".repeat(64),
        source: "result",
        display: null,
      },
      {
        uri: `execute-code://executions/${execution.id}/artifacts/2`,
        number: 2,
        mime: "text/plain",
        bytes: 300_000,
        sha256: "b".repeat(64),
        source: "display",
        display: 0,
      },
    ],
    directives: [{ next: "1 + 1" }],
    truncated: { stdout_bytes: 12, stderr_bytes: 0 },
    features: { ast_hash: "c".repeat(64), error_fingerprint: "d".repeat(64), imports: ["numpy"] },
    state: "restored",
    offset: 99,
  });
}
