import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import {
  ROUTES,
  type RouteBodyInput,
  type RouteName,
  type RouteParams,
  type RouteQueryInput,
} from "../contract/api.ts";
import { ErrorBody, ExecuteCodeError } from "../contract/errors.ts";

import { ConnectionError } from "./transport.ts";

/** What one route takes. Parts that a route does not have are left out. */
export interface RouteInput<N extends RouteName> {
  params?: RouteParams<N>;
  query?: RouteQueryInput<N>;
  body?: RouteBodyInput<N>;
}

export function callOf<N extends RouteName>(name: N, input: RouteInput<N>) {
  const route = ROUTES[name];
  const body = input.body === undefined ? {} : { body: JSON.stringify(input.body) };
  return { method: route.method, path: address(route.path, input.params, input.query), ...body };
}

/** The input of a call that the daemon may have seen: its idempotency key is no fresh one. */
export function repeat<N extends RouteName>(input: RouteInput<N>): RouteInput<N> {
  const body: unknown = input.body;
  if (typeof body !== "object" || body === null || !("idempotency_fresh" in body)) return input;
  return { ...input, body: { ...body, idempotency_fresh: false } as RouteBodyInput<N> };
}

/** Fills `{name}` parts and appends the query. */
export function address(template: string, params: object | undefined, query: object | undefined): string {
  let filled = template;
  for (const [key, value] of Object.entries(params ?? {})) {
    const text = String(value);
    if (text === "" || text === "." || text === "..") {
      throw new ExecuteCodeError("invalid_request", { message: `“${text}” is no ${key}.` });
    }
    filled = filled.replace(`{${key}}`, () => encodeURIComponent(text));
  }
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined) search.set(key, String(value));
  }
  return search.size === 0 ? filled : `${filled}?${search.toString()}`;
}

export function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** Parses an answer by its schema. */
export function understood<T>(schema: { parse(value: unknown): unknown }, text: string): T {
  try {
    return schema.parse(JSON.parse(text)) as T;
  } catch (cause) {
    throw new ExecuteCodeError("internal", {
      message: "The daemon's answer does not have the expected form.",
      remedy:
        "Stop the daemon with `execute-code daemon stop`, so that the next call starts one of this version.",
      cause,
    });
  }
}

export function refusal(status: number, bytes: Buffer): ExecuteCodeError {
  if (status === 431) {
    return new ExecuteCodeError("invalid_request", {
      message: "The names, paths or conditions of the request are longer than a request may be.",
      remedy: "Shorten them; what is searched for may have some thousand characters.",
    });
  }
  try {
    return ExecuteCodeError.fromBody(ErrorBody.parse(JSON.parse(bytes.toString())));
  } catch (cause) {
    return new ExecuteCodeError("internal", {
      message: `The daemon answered with status ${status} and no error body.`,
      cause,
    });
  }
}

/** Throws what it is given; a broken connection with what to do about the file. */
export function fileLost(remedy: string): (error: unknown) => never {
  return (error) => {
    const broken = error instanceof ExecuteCodeError && error.cause instanceof ConnectionError;
    if (!broken || error.code !== "connection_lost") throw error;
    throw new ExecuteCodeError("connection_lost", { remedy, cause: error.cause });
  };
}

/** What is no well-formed text would silently become another path. */
export function wellFormed(path: string): string {
  if (path.isWellFormed()) return path;
  throw new ExecuteCodeError("invalid_path", {
    message: `${JSON.stringify(path)} is not well-formed Unicode.`,
  });
}

export function checkLength(response: IncomingMessage, path: string, maxBytes: number | undefined): void {
  const bytes = Number(response.headers["content-length"]);
  if (maxBytes === undefined || bytes <= maxBytes) return;
  throw new ExecuteCodeError("file_too_large", {
    message: `${path} has ${bytes} bytes, more than the ${maxBytes} that may be read.`,
    remedy: "Let the session's code read a part of it, or allow more.",
    details: { bytes },
  });
}

/** Whether a stream that failed so is followed again. */
export function isBreak(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  return (
    error instanceof ExecuteCodeError &&
    (error.code === "connection_lost" || error.code === "daemon_stopping")
  );
}

/** A process that has ended and is not yet collected by its parent does not count. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

export function closed(): ExecuteCodeError {
  return new ExecuteCodeError("connection_lost", {
    message: "This client is closed.",
    remedy: "Make a new one with connect().",
  });
}
