/**
 * The HTTP API: every route of the contract's table, with its input parsed by its schemas, its failures turned into
 * rows of the error table.
 */
import { isUtf8 } from "node:buffer";
import { open } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context as AnyContext, Hono } from "hono";
import type { z } from "zod";
import { ROUTES, type RouteName } from "../../contract/api.ts";
import { ERRORS, ExecuteCodeError } from "../../contract/errors.ts";
import type { ExecutionEvent } from "../../contract/events.ts";
import { issuesText } from "../../contract/issues.ts";
import { LIMITS } from "../../contract/limits.ts";
import { type Content, storageError } from "../../memory/index.ts";
import { newSecret } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Handlers, Input } from "./handlers.ts";
import { openApi } from "./openapi.ts";

/** Bodies and disconnections are read from Node's own request: web streams would double the time of a call. */
type Env = { Bindings: HttpBindings };
type Context = AnyContext<Env>;

export interface AppOptions {
  readonly handlers: Handlers;
  readonly log: Logger;
  /** True once the daemon stops: nothing new is taken. */
  readonly stopping: () => boolean;
}

export function createApp(options: AppOptions): Hono<Env> {
  const app = new Hono<Env>();
  const methods = new Map<string, Set<string>>();
  for (const name of Object.keys(ROUTES) as RouteName[]) {
    const route = ROUTES[name];
    const path = route.path.replaceAll(/\{(\w+)\}/g, ":$1");
    methods.set(path, (methods.get(path) ?? new Set()).add(route.method));
    app.on(route.method, path, (context) => serve(name, context, options));
  }
  app.get("/v1/openapi.json", (context) => context.json(openApi()));
  for (const [path, allowed] of methods) {
    app.all(path, (context) => {
      context.header("allow", [...allowed].join(", "));
      return failure(new ExecuteCodeError("method_not_allowed"), context, options.log);
    });
  }
  app.notFound((context) => failure(new ExecuteCodeError("unknown_route"), context, options.log));
  app.onError((error, context) => failure(error, context, options.log));
  return app;
}

async function serve<N extends RouteName>(name: N, context: Context, options: AppOptions): Promise<Response> {
  const route = ROUTES[name];
  // The router takes HEAD for GET, whose answer is written past it.
  if (context.env.incoming.method === "HEAD") throw new ExecuteCodeError("method_not_allowed");
  if (options.stopping() && route.method === "POST") throw new ExecuteCodeError("daemon_stopping");
  checkEncoding(context.req.url);
  const input: Input<RouteName> = {
    params: parse(route.params, context.req.param(), "address") as never,
    query: parse(route.query, context.req.query(), "query") as never,
    body: (await bodyOf(route.body, context)) as never,
    signal: route.answer === "events" ? callerGone(context) : NEVER,
  };
  const answer = (options.handlers[name] as (input: Input<RouteName>) => unknown)(input);
  switch (route.answer) {
    case "json":
      return json((await answer) as object, context);
    case "bytes":
      return bytes((await answer) as Content, context, options.log);
    case "events":
      return events(answer as AsyncIterable<ExecutionEvent>, options.log);
  }
}

/** What is no UTF-8 would be taken for the text of its escapes. Throws `invalid_encoding`. */
function checkEncoding(url: string): void {
  if (!url.includes("%")) return;
  try {
    decodeURIComponent(url);
  } catch (cause) {
    throw new ExecuteCodeError("invalid_encoding", {
      message: "The request's address is not valid UTF-8, percent-encoded.",
      remedy: "Encode the parts of the address as UTF-8, then each byte as %XX.",
      cause,
    });
  }
}

const NEVER = new AbortController().signal;

/** Aborts when the connection closes before the answer is complete. */
function callerGone(context: Context): AbortSignal {
  const gone = new AbortController();
  context.env.outgoing.once("close", () => gone.abort());
  return gone.signal;
}

/** Throws `invalid_request`, naming what is wrong where. */
function parse(schema: z.ZodType, value: unknown, where: string): unknown {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ExecuteCodeError("invalid_request", {
    message: `The request's ${where} is not valid: ${issuesText(parsed.error, where)}.`,
  });
}

/** What a handler gets: a document that fits its schema, or the content as it arrives. */
async function bodyOf(body: z.ZodType | "bytes" | null, context: Context): Promise<unknown> {
  if (body === null) return null;
  return body === "bytes" ? openBody(context) : parse(body, await readBody(context), "body");
}

/** Raw content, straight from Node's request. Throws `unsupported_media_type` or `file_too_large`. */
function openBody(context: Context): AsyncIterable<Uint8Array> {
  const type = context.req.header("content-type") ?? "";
  if (!/^application\/octet-stream\s*(;|$)/i.test(type)) {
    throw new ExecuteCodeError("unsupported_media_type", {
      message: "The content of a file must be application/octet-stream.",
      remedy: "Set the header content-type: application/octet-stream.",
    });
  }
  if (Number(context.req.header("content-length") ?? 0) > LIMITS.uploadBytes) {
    throw new ExecuteCodeError("file_too_large");
  }
  return received(context.env.incoming);
}

/** What is left of a request whose reading stops early is for the server, which still has to answer it. */
async function* received(incoming: IncomingMessage): AsyncGenerator<Buffer, void> {
  try {
    yield* incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  } catch (cause) {
    throw new ExecuteCodeError("connection_lost", { cause });
  }
}

/** Throws `unsupported_media_type`, `body_too_large`, `invalid_encoding` or `invalid_json`. */
async function readBody(context: Context): Promise<unknown> {
  const type = context.req.header("content-type") ?? "";
  if (!/^application\/json\s*(;|$)/i.test(type)) throw new ExecuteCodeError("unsupported_media_type");
  const body = await readBytes(context.env.incoming);
  if (!isUtf8(body)) {
    throw new ExecuteCodeError("invalid_encoding", { message: "The request body is not valid UTF-8." });
  }
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (cause) {
    throw new ExecuteCodeError("invalid_json", {
      message: `The body is not valid JSON: ${(cause as Error).message}`,
      cause,
    });
  }
}

/** A body beyond the bound is read to its end, so that the caller gets the answer, and thrown away. */
function readBytes(incoming: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    incoming.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= LIMITS.requestBytes) chunks.push(chunk);
      else chunks.length = 0;
    });
    incoming.once("end", () => {
      if (length > LIMITS.requestBytes) reject(tooLarge());
      else resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    });
    incoming.once("error", reject);
    incoming.once("aborted", () => reject(new ExecuteCodeError("connection_lost")));
  });
}

function tooLarge(): ExecuteCodeError {
  return new ExecuteCodeError("body_too_large", {
    message: `A request body may have at most ${LIMITS.requestBytes / 1024 / 1024} MiB.`,
  });
}

/** Written straight to Node's response: half the time of a web Response, on the path of every execution. */
function json(answer: object, context: Context): Response {
  const body = JSON.stringify(answer);
  const { outgoing } = context.env;
  outgoing.writeHead(200, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
  });
  outgoing.end(body);
  return RESPONSE_ALREADY_SENT;
}

/** Written straight to Node's response. When there is less than was said, the answer ends as a broken connection. */
async function bytes(content: Content, context: Context, log: Logger): Promise<Response> {
  const { source } = content;
  const stream =
    "file" in source
      ? (await open(source.file)).createReadStream()
      : "stream" in source
        ? source.stream
        : Readable.from(source.memory, { objectMode: false });
  const { outgoing } = context.env;
  outgoing.writeHead(200, {
    "content-type": content.mime,
    ...(content.bytes === null ? {} : { "content-length": content.bytes }),
    "x-content-type-options": "nosniff",
    ...(content.attachment ? { "content-disposition": "attachment" } : {}),
  });
  let sent = 0;
  stream.on("data", (chunk: Buffer) => {
    sent += chunk.length;
  });
  try {
    await pipeline(stream, outgoing, { end: false });
    if (content.bytes !== null && sent !== content.bytes)
      throw new Error(`${sent} of ${content.bytes} bytes`);
    outgoing.end();
  } catch (error) {
    outgoing.destroy();
    // A reader that has gone is no failure of ours.
    const gone = (error as NodeJS.ErrnoException).code === "ERR_STREAM_PREMATURE_CLOSE";
    log[gone ? "debug" : "warn"]({ err: error }, "content was not sent whole");
  }
  return RESPONSE_ALREADY_SENT;
}

/** A failure after the first event becomes the last event; one before it becomes the answer. */
async function events(source: AsyncIterable<ExecutionEvent>, log: Logger): Promise<Response> {
  const iterator = source[Symbol.asyncIterator]();
  const first = await iterator.next();
  const encoder = new TextEncoder();
  const line = (event: ExecutionEvent): Uint8Array => encoder.encode(`${JSON.stringify(event)}\n`);
  let offset = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        if (first.done === true) controller.close();
        else {
          offset = first.value.offset;
          controller.enqueue(line(first.value));
        }
      },
      async pull(controller) {
        try {
          const next = await iterator.next();
          if (next.done === true) {
            controller.close();
            return;
          }
          offset = next.value.offset;
          controller.enqueue(line(next.value));
        } catch (error) {
          controller.enqueue(line({ type: "failed", error: known(error, log).toBody(), offset }));
          controller.close();
        }
      },
      async cancel() {
        await iterator.return?.();
      },
    },
    { highWaterMark: 4 },
  );
  return new Response(body, {
    headers: { "content-type": "application/x-ndjson", "cache-control": "no-store" },
  });
}

async function failure(error: unknown, context: Context, log: Logger): Promise<Response> {
  const row = known(error, log);
  const status = ERRORS[row.code].http;
  if (context.env.incoming.complete) return context.json(row.toBody(), status as 400);
  await refuse(JSON.stringify(row.toBody()), status, context);
  return RESPONSE_ALREADY_SENT;
}

/** How long a caller may take to read an answer that comes while it still sends. */
const LINGER_MS = 5_000;

/**
 * Answers a request that is still arriving. A connection that is closed before the caller has stopped sending breaks
 * for it before it has read the answer; so what it sends meanwhile is read, and thrown away.
 */
async function refuse(body: string, status: number, context: Context): Promise<void> {
  const { incoming, outgoing } = context.env;
  outgoing.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    connection: "close",
  });
  outgoing.write(body);
  incoming.resume();
  await finished(incoming, { signal: AbortSignal.timeout(LINGER_MS) }).catch(() => {});
  outgoing.end();
}

/** What is no row of the table is a defect: logged whole, told as `internal`. */
function known(error: unknown, log: Logger): ExecuteCodeError {
  const mapped = storageError(error);
  if (mapped instanceof ExecuteCodeError) return mapped;
  const request = newSecret().slice(0, 8);
  log.error({ err: error, request }, "unexpected failure");
  return new ExecuteCodeError("internal", { details: { request } });
}
