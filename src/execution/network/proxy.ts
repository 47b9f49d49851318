/**
 * The network of one box: an HTTP forward proxy on a unix socket, for tunnels (CONNECT) and plain http, to the
 * destinations of an allow-list and nowhere else.
 *
 * A connection: waiting for its request's head → dialling → relaying → closed. It carries one request, which is judged
 * by itself: host and port must be written as in the list; the name is resolved once, and exactly an address that was
 * judged is dialled. Session code may speak to the socket directly: nothing here relies on what stands in between.
 */
import { lookup } from "node:dns/promises";
import { chmod } from "node:fs/promises";
import type { ClientRequest, Server as HttpServer, IncomingMessage, ServerResponse } from "node:http";
import { createConnection, createServer as createListener, isIP, type Server, type Socket } from "node:net";
import { pipeline } from "node:stream";
import type { Logger } from "../../platform/logger.ts";
import {
  type Destination,
  formatDestination,
  isPrivateAddress,
  parseAuthority,
  parseDestination,
} from "./destinations.ts";

// An import statement would evaluate every export of node:http: see daemon/daemon.ts.
const { createServer, request: httpRequest } = process.getBuiltinModule("node:http");

/** Connections of a box at a time; further ones are answered 503 at once. */
const CONNECTIONS = 64;
const HEAD_BYTES = 32 * 1024;
/** Destinations whose refusal is logged; all are counted. */
const LOGGED = 32;

export interface ProxyDeadlines {
  /** For a request's head to arrive. */
  readonly headMs: number;
  /** For a name to be resolved. */
  readonly resolveMs: number;
  /** For one address to be connected to. */
  readonly connectMs: number;
  /** Without a byte in either direction. */
  readonly idleMs: number;
}

const DEADLINES: ProxyDeadlines = {
  headMs: 10_000,
  resolveMs: 10_000,
  connectMs: 10_000,
  idleMs: 10 * 60_000,
};

export interface NetworkProxyOptions {
  /** Path of the unix socket, which must not exist. */
  readonly socket: string;
  readonly allowed: readonly Destination[];
  readonly log: Logger;
  /** All addresses of a name, the preferred first. Default: the machine's resolver. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Begins a connection to an address. Default: TCP. */
  readonly connect?: (address: string, port: number) => Socket;
  readonly deadlines?: Partial<ProxyDeadlines>;
}

/** A client's connection. It counts until both its sockets are closed. */
interface Connection {
  /** Cuts it when its request's head does not arrive; null when it has. */
  deadline: NodeJS.Timeout | null;
  upstream: Socket | null;
}

export class NetworkProxy {
  readonly #log: Logger;
  readonly #allowed: ReadonlyMap<string, Destination>;
  readonly #resolve: (host: string) => Promise<readonly string[]>;
  readonly #connect: (address: string, port: number) => Socket;
  readonly #deadlines: ProxyDeadlines;
  readonly #listener: Server;
  readonly #http: HttpServer;
  /** By the client's socket. */
  readonly #open = new Map<Socket, Connection>();
  readonly #logged = new Set<string>();
  #refused = 0;

  private constructor({ allowed, log, resolve, connect, deadlines }: NetworkProxyOptions) {
    this.#log = log;
    this.#allowed = new Map(allowed.map((one) => [formatDestination(one), one]));
    this.#resolve = resolve ?? resolveByMachine;
    this.#connect = connect ?? connectByTcp;
    this.#deadlines = { ...DEADLINES, ...deadlines };
    this.#http = createServer({ maxHeaderSize: HEAD_BYTES, insecureHTTPParser: false });
    this.#http.maxHeadersCount = 0; // None is left out; the head's size bounds them.
    // Longer than the destination's, whose silence can be answered.
    this.#http.timeout = 2 * this.#deadlines.idleMs;
    this.#http.on("request", (request, response) => this.#serve(request, response));
    this.#http.on("connect", (request, client, head) => this.#serveTunnel(request, client as Socket, head));
    this.#listener = createListener({ allowHalfOpen: true }, (client) => this.#admit(client));
  }

  /** Rejects with the system's error when the socket cannot be made. Its mode is 0600, its owner the daemon's user. */
  static async start(options: NetworkProxyOptions): Promise<NetworkProxy> {
    const proxy = new NetworkProxy(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    proxy.#listener.once("error", reject);
    proxy.#listener.listen(options.socket, resolve);
    await promise;
    proxy.#listener.off("error", reject);
    proxy.#listener.on("error", (error) => proxy.#log.warn({ err: error }, "network proxy"));
    await chmod(options.socket, 0o600);
    return proxy;
  }

  /** Requests that were not allowed. */
  get refused(): number {
    return this.#refused;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#open.size;
  }

  /** Cuts every connection and removes the socket. */
  async stop(): Promise<void> {
    const sockets = [...this.#open].flatMap(([client, { upstream }]) => [client, upstream]);
    const ends = sockets.map((socket) => {
      if (socket === null || socket.closed) return undefined;
      socket.destroy();
      return new Promise((resolve) => socket.once("close", resolve));
    });
    await Promise.all([...ends, new Promise((resolve) => this.#listener.close(resolve))]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  // ── connections ───────────────────────────────────────────────────────────────────────────────────────────────

  #admit(client: Socket): void {
    client.on("error", () => client.destroy());
    if (this.#open.size >= CONNECTIONS) {
      const many = new Failure(503, `a session has at most ${CONNECTIONS} connections at a time`);
      client.end(rawAnswer(many), () => client.destroy());
      return;
    }
    const connection: Connection = {
      deadline: setTimeout(() => client.destroy(), this.#deadlines.headMs),
      upstream: null,
    };
    this.#open.set(client, connection);
    client.once("close", () => {
      if (connection.deadline !== null) clearTimeout(connection.deadline);
      const { upstream } = connection;
      if (upstream === null || upstream.closed) this.#open.delete(client);
      else upstream.once("close", () => this.#open.delete(client));
    });
    this.#http.emit("connection", client);
  }

  /** Takes a connection's request; false, and the connection is cut, for one that follows it. */
  #claim(client: Socket): boolean {
    const connection = this.#open.get(client);
    if (connection === undefined || connection.deadline === null) {
      client.destroy();
      return false;
    }
    clearTimeout(connection.deadline);
    connection.deadline = null;
    return true;
  }

  // ── tunnels ───────────────────────────────────────────────────────────────────────────────────────────────────

  #serveTunnel(request: IncomingMessage, client: Socket, head: Buffer): void {
    if (!this.#claim(client)) return;
    this.#tunnel(request, client, head).catch((error: unknown) => {
      client.end(rawAnswer(this.#failureOf(error)), () => client.destroy());
    });
  }

  async #tunnel(request: IncomingMessage, client: Socket, head: Buffer): Promise<void> {
    const upstream = await this.#reach(parseAuthority(request.url ?? "", null), client);
    client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    upstream.write(head);
    // Each side's end is passed on by its pipe. When one is closed, the other still gets what is on its way.
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.setTimeout(this.#deadlines.idleMs, () => one.destroy());
      one.pipe(other);
      one.once("close", (failed) => (failed ? other.destroy() : other.destroySoon()));
    }
  }

  // ── plain http ────────────────────────────────────────────────────────────────────────────────────────────────

  #serve(request: IncomingMessage, response: ServerResponse): void {
    if (!this.#claim(request.socket)) return;
    response.on("error", () => request.socket.destroy());
    response.sendDate = false;
    this.#forward(request, response).catch((error: unknown) =>
      answer(request, response, this.#failureOf(error)),
    );
  }

  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { authority, path } = absoluteForm(request.url ?? "");
    const target = parseAuthority(authority, 80);
    if (/websocket/i.test(request.headers.upgrade ?? "")) {
      throw new Failure(501, "WebSockets pass through a tunnel only: use CONNECT, or wss");
    }
    const body = framing(request);
    const upstream = await this.#reach(target, request.socket);
    const fail = (status: 400 | 502 | 504, why: string): void => {
      upstream.destroy();
      answer(request, response, new Failure(status, why));
    };
    response.once("close", () => upstream.destroy());
    upstream.setTimeout(this.#deadlines.idleMs, () => fail(504, "the destination is silent"));
    const headers = endToEnd(request, NEWLY_MADE);
    headers.push("host", formatDestination(target!).replace(/:80$/, ""), ...body, "connection", "close");
    let outgoing: ClientRequest;
    try {
      outgoing = httpRequest({
        createConnection: () => upstream,
        method: request.method,
        path,
        headers,
        maxHeaderSize: HEAD_BYTES,
      });
    } catch (error) {
      fail(400, `the request is malformed: ${(error as Error).message}`);
      return;
    }
    outgoing.on("error", (error) => fail(502, `the destination failed: ${error.message}`));
    outgoing.on("upgrade", () => fail(502, "the destination changed the protocol unasked"));
    outgoing.on("response", (incoming) => {
      try {
        const passedOn = [...endToEnd(incoming, new Set()), "connection", "close"];
        response.writeHead(incoming.statusCode!, incoming.statusMessage, passedOn);
      } catch (error) {
        fail(502, `the destination's answer is malformed: ${(error as Error).message}`);
        return;
      }
      // An answer that breaks off is cut, so that it cannot be taken for a whole one.
      pipeline(incoming, response, () => upstream.destroy());
    });
    if (body.length === 0) outgoing.end();
    else request.pipe(outgoing);
  }

  // ── the way out ───────────────────────────────────────────────────────────────────────────────────────────────

  /** A connection to what a request names. Rejects with a Failure; gives up when the client is gone. */
  async #reach(target: { host: string; port: number } | null, client: Socket): Promise<Socket> {
    const destination = target === null ? undefined : this.#allowed.get(formatDestination(target));
    if (destination === undefined) {
      if (target === null) throw new Refusal("the request names no HOST:PORT", null);
      const asked = formatDestination(target);
      throw new Refusal(`${asked} is not on the session's allow-list`, optionFor(asked));
    }
    const name = formatDestination(destination);
    const addresses = await this.#addresses(destination, name);
    let last = new Failure(502, `${name} has no address`);
    for (const address of addresses) {
      if (client.destroyed) throw last;
      const socket = this.#connect(address, destination.port);
      try {
        await connected(socket, client, name, this.#deadlines.connectMs);
        this.#open.get(client)!.upstream = socket;
        return socket;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        last = error;
      }
    }
    throw last;
  }

  /** The addresses that a destination leads to, every one of them allowed. */
  async #addresses(destination: Destination, name: string): Promise<readonly string[]> {
    const { host } = destination;
    const addresses = isIP(host) === 0 ? await this.#resolved(host, name) : [host];
    if (!destination.private && addresses.some(isPrivateAddress)) {
      throw new Refusal(`${name} leads to a private address`, `--allow-private-net ${name}`);
    }
    return addresses;
  }

  async #resolved(host: string, name: string): Promise<readonly string[]> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(new Failure(504, `the name of ${name} was not resolved in time`)),
      this.#deadlines.resolveMs,
    );
    try {
      return await Promise.race([this.#resolve(host), late.promise]);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure(502, `the name of ${name} cannot be resolved: ${(error as Error).message}`);
    } finally {
      clearTimeout(timer);
    }
  }

  #failureOf(error: unknown): Failure {
    if (error instanceof Refusal) {
      this.#refused += 1;
      if (this.#logged.size < LOGGED && !this.#logged.has(error.message)) {
        this.#logged.add(error.message);
        this.#log.info({ why: error.message }, "network refused");
      }
    }
    if (error instanceof Failure) return error;
    this.#log.error({ err: error }, "network proxy");
    return new Failure(502, "the proxy failed");
  }
}

/** An answer of the proxy itself. */
class Failure extends Error {
  readonly status: keyof typeof PHRASES;

  constructor(status: keyof typeof PHRASES, message: string) {
    super(message);
    this.status = status;
  }

  /** Some programs show nothing else. */
  get phrase(): string {
    return PHRASES[this.status];
  }

  get body(): string {
    return `execute-code: ${this.message}.\n`;
  }
}

/** What the allow-list forbids. */
class Refusal extends Failure {
  readonly #option: string | null;

  /** `option`: what would allow it. */
  constructor(message: string, option: string | null) {
    super(403, message);
    this.#option = option;
  }

  override get phrase(): string {
    return this.#option === null ? super.phrase : `Forbidden (allow it with ${this.#option})`;
  }

  override get body(): string {
    return this.#option === null
      ? super.body
      : `${super.body}Start the session with ${this.#option} to allow it.\n`;
  }
}

/** What would allow a destination; null for a text that no list can hold. */
function optionFor(text: string): string | null {
  try {
    const { host } = parseDestination(text);
    return `${isIP(host) !== 0 && isPrivateAddress(host) ? "--allow-private-net" : "--allow-net"} ${text}`;
  } catch {
    return null;
  }
}

const PHRASES = {
  400: "Bad Request",
  403: "Forbidden",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
} as const;

const plainText = (body: string): Record<string, string> => ({
  "content-type": "text/plain; charset=utf-8",
  "content-length": String(Buffer.byteLength(body)),
  connection: "close",
});

function rawAnswer({ status, phrase, body }: Failure): string {
  const headers = Object.entries(plainText(body)).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${phrase}\r\n${headers.join("")}\r\n${body}`;
}

/** What has begun to be answered otherwise is cut; what has been answered stays. */
function answer(request: IncomingMessage, response: ServerResponse, { status, phrase, body }: Failure): void {
  if (response.writableEnded) return;
  if (response.headersSent) {
    response.destroy();
    return;
  }
  request.unpipe();
  request.resume();
  response.writeHead(status, phrase, plainText(body));
  response.end(body);
}

/** The parts of a request's target as proxies get it. Throws a Failure for other forms. */
function absoluteForm(url: string): { authority: string; path: string } {
  const parts = /^http:\/\/([^/?#]*)([/?][^#]*)?$/i.exec(url);
  if (parts === null) {
    throw new Failure(400, "this is a proxy: it takes http://HOST:PORT/PATH, and CONNECT for all else");
  }
  const rest = parts[2] ?? "/";
  return { authority: parts[1]!, path: rest.startsWith("/") ? rest : `/${rest}` };
}

/** The header that frames a request's body; none when there is no body. Throws a Failure for what is not understood. */
function framing({ headers }: IncomingMessage): string[] {
  const coding = headers["transfer-encoding"];
  const length = headers["content-length"];
  if (coding !== undefined) {
    if (coding.toLowerCase() !== "chunked")
      throw new Failure(501, "no transfer coding but chunked is supported");
    return ["transfer-encoding", "chunked"];
  }
  return length === undefined ? [] : ["content-length", length];
}

/** Headers of one connection, not of the message. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Headers of a request that the proxy makes itself. */
const NEWLY_MADE = new Set(["host", "content-length", "expect"]);

/** The headers that are passed on, as a flat list of names and values; without those in `besides`. */
function endToEnd({ rawHeaders, headers }: IncomingMessage, besides: ReadonlySet<string>): string[] {
  const listed = (headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase());
  // The length is the message's own, whatever a sender says.
  const dropped = new Set(listed.filter((name) => name !== "content-length"));
  const kept: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || dropped.has(lower) || besides.has(lower)) continue;
    kept.push(name, rawHeaders[index + 1]!);
  }
  return kept;
}

/** Resolves when the socket is connected. Rejects with a Failure, the socket destroyed. */
function connected(socket: Socket, client: Socket, name: string, ms: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => give(new Failure(504, `${name} did not answer in time`)), ms);
  const give = (failure: Failure): void => {
    reject(failure);
    socket.destroy();
  };
  const onGone = (): void => give(new Failure(502, "the client is gone"));
  client.once("close", onGone);
  // It stays: whoever uses the socket learns of its end by "close".
  socket.on("error", (error) => give(new Failure(502, `${name} cannot be reached: ${error.message}`)));
  socket.once("connect", () => (client.destroyed ? onGone() : resolve()));
  return promise.finally(() => {
    clearTimeout(timer);
    client.off("close", onGone);
  });
}

function connectByTcp(address: string, port: number): Socket {
  return createConnection({ host: address, port, allowHalfOpen: true, noDelay: true, keepAlive: true });
}

/** Look-ups under way: each takes one of the daemon's few threads, so that a name is looked up once at a time. */
const lookups = new Map<string, Promise<readonly string[]>>();

function resolveByMachine(host: string): Promise<readonly string[]> {
  let found = lookups.get(host);
  if (found === undefined) {
    found = lookup(host, { all: true, order: "ipv4first" })
      .then((addresses) => addresses.map(({ address }) => address))
      .finally(() => lookups.delete(host));
    lookups.set(host, found);
  }
  return found;
}
