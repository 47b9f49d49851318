/**
 * The API on a TCP port of the machine's own loopback, for programs that cannot use the socket. What any local user and
 * any web page in a browser can reach is guarded: a token that only this user can read, and no request that a foreign
 * page has sent or that came under a foreign name (DNS rebinding).
 */
import { timingSafeEqual } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, RequestListener, Server, ServerResponse } from "node:http";
import { isIPv6 } from "node:net";
import { ERRORS, ExecuteCodeError } from "../../contract/errors.ts";
import { newSecret } from "../../platform/ids.ts";

const { createServer } = process.getBuiltinModule("node:http");

/** An address to listen on. */
export interface Loopback {
  readonly host: string;
  readonly port: number;
}

const HEADERS_MS = 10_000;
/** The longest address that the routes take is some 40 KB: searches, percent-encoded. */
const HEAD_BYTES = 64 * 1024;
const CONNECTIONS = 256;
const TOKEN = /^[0-9a-f]{32,}$/;

/** `127.0.0.1:8787`, `[::1]:8787`, `localhost:8787`; port 0 is one that is free. Throws `invalid_request`. */
export function parseLoopback(text: string): Loopback {
  const match = /^(?:\[(?<six>[0-9a-f:]+)\]|(?<name>[^:[\]]+)):(?<port>\d{1,5})$/i.exec(text);
  const host = match?.groups?.six ?? match?.groups?.name ?? "";
  const port = Number(match?.groups?.port);
  const loopback = host === "::1" || host === "localhost" || /^127(\.\d{1,3}){3}$/.test(host);
  if (match === null || port > 65_535 || !loopback) {
    throw new ExecuteCodeError("invalid_request", {
      message: `\`${text}\` is no address of this machine's loopback.`,
      remedy:
        "Use 127.0.0.1:PORT. For other machines, forward the port (ssh -L), or put a server before it that knows its users.",
    });
  }
  return { host: host === "localhost" ? "127.0.0.1" : host, port };
}

/** The token of a home, made at its first use: a file that only this user can read. */
export function loadToken(file: string): string {
  try {
    const token = readFileSync(file, "utf8").trim();
    if (TOKEN.test(token)) return token;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const token = newSecret();
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return token;
}

/** A server that lets through what has the token. Throws `home_unusable` when the address cannot be had. */
export async function listenLoopback(
  { host, port }: Loopback,
  token: string,
  listener: RequestListener,
): Promise<Server> {
  const server = createServer(
    { keepAliveTimeout: 5_000, maxHeaderSize: HEAD_BYTES },
    (incoming, outgoing) => {
      const refused = refusal(incoming, server, token);
      if (refused === null) listener(incoming, outgoing);
      else refuse(refused, outgoing);
    },
  );
  server.requestTimeout = 0;
  server.headersTimeout = HEADERS_MS;
  server.maxConnections = CONNECTIONS;
  // Nothing speaks another protocol here: a request for one is answered like any other.
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new ExecuteCodeError("address_unusable", {
          message: `The address ${urlOf(host, port)} cannot be had: ${cause.message}.`,
          cause,
        }),
      ),
    );
    server.listen(port, host, resolve);
  });
  return server;
}

/** `http://127.0.0.1:8787` */
export function addressOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string")
    throw new Error("the server does not listen on a port");
  return urlOf(address.address, address.port);
}

function urlOf(host: string, port: number): string {
  return `http://${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** Why a request is not served; null: it is. */
function refusal(incoming: IncomingMessage, server: Server, token: string): ExecuteCodeError | null {
  const own = addressOf(server);
  const { port } = new URL(own);
  const names = [new URL(own).host, `localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`];
  const { host, origin, authorization } = incoming.headers;
  if (host === undefined || !names.includes(host.toLowerCase())) return forbidden("Host", host);
  if (origin !== undefined && !names.some((name) => origin.toLowerCase() === `http://${name}`)) {
    return forbidden("Origin", origin);
  }
  const site = incoming.headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none") {
    return forbidden("Sec-Fetch-Site", String(site));
  }
  const given = /^bearer\s+(\S+)$/i.exec(authorization ?? "")?.[1];
  return given !== undefined && same(given, token) ? null : new ExecuteCodeError("unauthorized");
}

function forbidden(header: string, value: string | undefined): ExecuteCodeError {
  return new ExecuteCodeError("forbidden", {
    message: `Requests with the ${header} \`${String(value).slice(0, 200)}\` are not served.`,
  });
}

/** Takes the same time wherever they differ. */
function same(given: string, token: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(token)];
  return one.length === other.length && timingSafeEqual(one, other);
}

function refuse(error: ExecuteCodeError, outgoing: ServerResponse): void {
  const body = JSON.stringify(error.toBody());
  outgoing.writeHead(ERRORS[error.code].http, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    // What else comes on this connection is not read.
    connection: "close",
    ...(error.code === "unauthorized" ? { "www-authenticate": "Bearer" } : {}),
  });
  outgoing.end(body);
}
