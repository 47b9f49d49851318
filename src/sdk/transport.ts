/** HTTP over the daemon's unix socket, on connections that are kept. */
import type { EventEmitter } from "node:events";
import type { ClientRequest, Agent as HttpAgent, IncomingMessage, OutgoingHttpHeaders } from "node:http";

// An import statement would evaluate every export of node:http, of which one loads a whole WebSocket client: 50 ms.
const { Agent, request } = process.getBuiltinModule("node:http");

/** The connection failed. The caller decides whether the request is repeated. */
export class ConnectionError extends Error {
  /** False when the daemon cannot have seen the request. */
  readonly sent: boolean;
  /** The system's code, such as ENOENT or ECONNRESET. */
  readonly code: string;

  constructor(cause: unknown, sent: boolean) {
    super(cause instanceof Error ? cause.message : "The connection ended early.", { cause });
    this.name = "ConnectionError";
    this.code = codeOf(cause);
    this.sent = sent;
  }
}

/** Raw content, of which nothing is taken before there is a connection. */
export interface Streamed {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Null: not known beforehand. */
  readonly bytes: number | null;
}

export interface Call {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** JSON, or content. */
  readonly body?: string | Streamed | undefined;
  /** Use a connection of its own, so that the daemon's closing of an idle one cannot lose the request. */
  readonly ownConnection?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  /** Media type without parameters; empty when there is none. */
  readonly type: string;
  readonly bytes: Buffer;
}

/** An idle transport keeps no process alive; `close` ends what is under way. */
export class Transport {
  readonly socketPath: string;
  readonly #agent: HttpAgent = new Agent({ keepAlive: true, maxFreeSockets: 8 });

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  /**
   * Resolves with the head of the answer; its body is still to be read. Fails with ConnectionError, and with what the
   * content of the request throws.
   */
  open(call: Call): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { body } = call;
      const outgoing = request({
        socketPath: this.socketPath,
        method: call.method,
        path: call.path,
        agent: call.ownConnection ? false : this.#agent,
        ...(call.signal === undefined ? {} : { signal: call.signal }),
        headers: { host: "localhost", ...headersOf(body) },
      });
      outgoing.on("response", resolve);
      outgoing.on("error", (error) => reject(new ConnectionError(error, maybeSeen(error, body))));
      if (typeof body !== "object") outgoing.end(body);
      else {
        send(body.chunks, outgoing).catch((error: unknown) => {
          reject(error);
          outgoing.destroy();
        });
      }
    });
  }

  /** Resolves with the whole answer. Fails with ConnectionError. */
  async request(call: Call): Promise<Answer> {
    const response = await this.open(call);
    const bytes = await readAll(response);
    return {
      status: response.statusCode ?? 0,
      type: (response.headers["content-type"] ?? "").split(";", 1)[0] ?? "",
      bytes,
    };
  }

  close(): void {
    this.#agent.destroy();
  }
}

function headersOf(body: Call["body"]): OutgoingHttpHeaders {
  if (body === undefined) return {};
  if (typeof body === "string") {
    return { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  }
  const length = body.bytes === null ? {} : { "content-length": body.bytes };
  return { "content-type": "application/octet-stream", ...length };
}

/**
 * Sends content at the pace of the connection, from its beginning on and until an answer comes, which may be before
 * the content's end. Rejects with what the content throws.
 */
async function send(chunks: AsyncIterable<Uint8Array>, outgoing: ClientRequest): Promise<void> {
  const stopped = new AbortController();
  for (const event of ["response", "close"]) outgoing.once(event, () => stopped.abort());
  const { signal } = stopped;
  await until(outgoing, "socket", signal);
  if (outgoing.socket?.connecting) await until(outgoing.socket, "connect", signal);
  if (signal.aborted) return;
  for await (const chunk of chunks) {
    if (signal.aborted) return;
    if (!outgoing.write(chunk)) await until(outgoing, "drain", signal);
  }
  outgoing.end();
}

/** Resolves at the event, or when the signal is aborted. */
function until(emitter: EventEmitter, event: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      emitter.off(event, done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    if (signal.aborted) resolve();
    emitter.once(event, done);
    signal.addEventListener("abort", done, { once: true });
  });
}

/** Failures of connecting: nothing of the request went out. */
const NEVER_SENT = new Set([
  "ENOENT",
  "ECONNREFUSED",
  "ENOTDIR",
  "ENOTSOCK",
  "EACCES",
  "EPERM",
  "EAGAIN",
  "EINVAL",
]);

/**
 * Whether the daemon may have seen the request. A kept connection may be that of a daemon which has ended: then a unix
 * socket takes nothing more (EPIPE), or says that the other end was closed before all had been read (a `read` that fails
 * with ECONNRESET). Who has read a request whole and ends then leaves an orderly end behind, a "hang up".
 */
function maybeSeen(error: NodeJS.ErrnoException, body: Call["body"]): boolean {
  const { code = "", syscall } = error;
  if (NEVER_SENT.has(code)) return false;
  // Content that has been taken from its source in part is not sent again.
  if (typeof body === "object") return true;
  return code !== "EPIPE" && !(code === "ECONNRESET" && syscall === "read");
}

export function readAll(response: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    response.on("data", (chunk: Buffer) => chunks.push(chunk));
    response.on("end", () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    response.on("error", (error) => reject(new ConnectionError(error, true)));
  });
}

/** The content of an answer as it arrives. Fails with ConnectionError when it breaks. */
export async function* chunksOf(response: IncomingMessage): AsyncGenerator<Buffer, void> {
  try {
    yield* response as AsyncIterable<Buffer>;
  } catch (error) {
    throw new ConnectionError(error, true);
  }
}

/** The lines of an answer as they arrive. Fails with ConnectionError when it ends within a line or breaks. */
export async function* readLines(response: IncomingMessage): AsyncGenerator<string, void> {
  response.setEncoding("utf8");
  let pending = "";
  try {
    for await (const chunk of response as AsyncIterable<string>) {
      let from = 0;
      let end = chunk.indexOf("\n");
      while (end >= 0) {
        const line = pending + chunk.slice(from, end);
        pending = "";
        from = end + 1;
        if (line !== "") yield line;
        end = chunk.indexOf("\n", from);
      }
      pending += chunk.slice(from);
    }
  } catch (error) {
    throw new ConnectionError(error, true);
  }
  if (pending !== "") throw new ConnectionError(undefined, true);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}
