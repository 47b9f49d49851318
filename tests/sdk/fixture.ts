/**
 * A server on a socket that answers as a test says: for what the transport does when connections break, which the
 * daemon cannot be made to do at will.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import path from "node:path";
import type { ExecutionRecord } from "../../src/sdk/index.ts";

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly body: unknown;
}

export interface Fixture extends AsyncDisposable {
  readonly seen: Seen[];
}

export type Answerer = (seen: Seen, response: ServerResponse, request: IncomingMessage) => void;

export async function serve(home: string, answer: Answerer): Promise<Fixture> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const text = Buffer.concat(chunks).toString();
      const one = {
        method: request.method ?? "",
        url: request.url ?? "",
        body: text === "" ? null : (JSON.parse(text) as unknown),
      };
      seen.push(one);
      answer(one, response, request);
    });
  });
  await new Promise<void>((resolve) => server.listen(path.join(home, "daemon.sock"), resolve));
  return {
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function answerJson(response: ServerResponse, value: unknown, status = 200): void {
  const text = JSON.stringify(value);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

export const ID = "exec_01kb0000000000000000000000";

export function record(changes: Partial<ExecutionRecord> = {}): ExecutionRecord {
  return {
    id: ID,
    session: "main",
    session_id: "sess_01kb0000000000000000000000",
    generation: 1,
    revision: 17,
    language: "python",
    status: "ok",
    code: "1",
    stdout: "",
    stderr: "",
    result: null,
    error: null,
    displays: [],
    late: [],
    inputs: [],
    input_requested: null,
    started_at: "2026-11-22T09:00:00.000Z",
    duration_ms: 42.4,
    cpu_ms: 1,
    peak_memory_bytes: 1,
    variables: { added: [], changed: [], deleted: [] },
    parent: null,
    rolled_back: null,
    restore: null,
    effects: [],
    artifacts: [],
    directives: [],
    truncated: { stdout_bytes: 0, stderr_bytes: 0 },
    features: { ast_hash: null, error_fingerprint: null, imports: [] },
    cause: { kind: "client", client: "sdk" },
    isolation: "sandbox",
    state: "retained",
    durability: "full",
    offset: 0,
    ...changes,
  };
}
