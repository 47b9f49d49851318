import { once } from "node:events";
import { existsSync, rmSync, statSync } from "node:fs";
import { createServer as createHttp, type IncomingMessage, request, type ServerResponse } from "node:http";
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";
import path from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { domainToASCII } from "node:url";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { ExecuteCodeError } from "../../src/contract/errors.ts";
import {
  type Destination,
  formatDestination,
  isPrivateAddress,
  parseAuthority,
  parseDestination,
} from "../../src/execution/network/destinations.ts";
import { NetworkProxy, type NetworkProxyOptions } from "../../src/execution/network/proxy.ts";
import { temporaryFolder } from "../support/home.ts";

const MiB = 1024 * 1024;

describe("a destination", () => {
  test.each([
    ["example.com:443", "example.com", 443],
    ["EXAMPLE.Com:80", "example.com", 80],
    ["localhost:1", "localhost", 1],
    ["my_service:65535", "my_service", 65_535],
    ["bücher.de:443", "xn--bcher-kva.de", 443],
    ["xn--bcher-kva.de:443", "xn--bcher-kva.de", 443],
    ["203.0.113.7:8080", "203.0.113.7", 8080],
    ["10.0.0.1:5432", "10.0.0.1", 5432],
    ["[2001:db8::1]:443", "2001:db8::1", 443],
    ["[2001:DB8::A]:443", "2001:db8::a", 443],
    ["[::1]:80", "::1", 80],
  ])("%s", (text, host, port) => {
    expect(parseDestination(text)).toEqual({ host, port, private: false });
  });

  test.each([
    ["", /empty/],
    ["example.com", /port is missing/],
    ["example.com:", /port is missing/],
    ["[::1]", /port is missing/],
    ["::1", /brackets/],
    ["2001:db8::1", /brackets/],
    ["example.com:0", /1 to 65535/],
    ["example.com:65536", /1 to 65535/],
    ["example.com:0443", /1 to 65535/],
    ["example.com:+80", /1 to 65535/],
    ["example.com:80-90", /1 to 65535/],
    ["example.com:http", /1 to 65535/],
    ["https://example.com", /more than/],
    ["https://example.com:443", /more than/],
    ["example.com:443/path", /more than/],
    ["example.com?x:443", /more than/],
    ["example.com#:443", /more than/],
    ["user@example.com:443", /more than/],
    ["user:password@example.com:443", /more than/],
    ["example.com\\@evil.com:443", /more than/],
    ["ex%61mple.com:443", /more than/],
    ["[fe80::1%25eth0]:443", /more than/],
    ["*.example.com:443", /wildcard/],
    ["*:443", /wildcard/],
    [" example.com:443", /white space/],
    ["example.com :443", /white space/],
    ["exam\u00adple.com:443", /invisible/],
    ["exam\u200bple.com:443", /invisible/],
    ["example.com\0:443", /invisible/],
    ["a:b:443", /form/],
    [":443", /form/],
    ["[]:443", /form/],
    ["example.com.:443", /canonical/],
    [".example.com:443", /canonical/],
    ["a..b:443", /canonical/],
    ["-a.com:443", /canonical/],
    ["a-.com:443", /canonical/],
    [`${"a".repeat(64)}.com:443`, /canonical/],
    [`${"a.".repeat(127)}com:443`, /canonical/],
    ["127.1:80", /canonical/],
    ["127.0.0.1.:80", /canonical/],
    ["0127.0.0.1:80", /canonical/],
    ["0x7f.0.0.1:80", /canonical/],
    ["0x7f000001:80", /canonical/],
    ["2130706433:80", /canonical/],
    ["017700000001:80", /canonical/],
    ["256.1.1.1:80", /canonical/],
    ["1.2.3.4.5:80", /canonical/],
    ["１２７.0.0.1:80", /canonical/],
    ["127。0。0。1:80", /canonical/],
    ["[::ffff:127.0.0.1]:80", /canonical/],
    ["[::ffff:7f00:1]:80", /canonical/],
    ["[2001:db8:0::1]:80", /canonical/],
    ["[2001:db8::0001]:80", /canonical/],
    ["[127.0.0.1]:80", /canonical/],
    ["[example.com]:80", /canonical/],
  ])("is not %j", (text, why) => {
    const error = failureOf(() => parseDestination(text));
    expect(error.code).toBe("invalid_request");
    expect(error.message).toContain(JSON.stringify(text.slice(0, 100)));
    expect(error.message).toMatch(why);
    expect(error.remedy).not.toBe("");
  });

  test("without its port is told what to write", () => {
    expect(failureOf(() => parseDestination("example.com")).remedy).toContain("example.com:443");
    expect(failureOf(() => parseDestination("2001:db8::1")).remedy).toContain("[2001:db8::1]:443");
  });

  const label = fc.stringMatching(/^[a-z](?:[a-z0-9-]{0,20}[a-z0-9])?$/);
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
  const port = fc.integer({ min: 1, max: 65_535 });

  test("is written as it is read", () => {
    fc.assert(
      fc.property(fc.oneof(name, fc.ipV4(), fc.ipV6()), port, (host, number) => {
        const text = formatDestination({ host, port: number });
        let parsed: Destination;
        try {
          parsed = parseDestination(text);
        } catch {
          return;
        }
        expect(formatDestination(parsed)).toBe(text);
        expect(parseDestination(formatDestination(parsed))).toEqual(parsed);
        expect(parseAuthority(text.toUpperCase(), null)).toEqual({ host: parsed.host, port: number });
      }),
    );
  });

  test("is either refused with an error of the table or canonical, whatever the text", () => {
    const alphabet = fc.constantFrom(..."ab1.0:x[]@/%*-_ é。１\u200b".split(""));
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: alphabet }), fc.string({ unit: "binary" })), (text) => {
        let parsed: Destination;
        try {
          parsed = parseDestination(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ExecuteCodeError);
          return;
        }
        expect(parsed.host).toMatch(/^[a-z0-9._-]+$|^[0-9a-f:]+$/);
        if (!parsed.host.includes(":")) expect(domainToASCII(parsed.host)).toBe(parsed.host);
        expect(parseDestination(formatDestination(parsed))).toEqual(parsed);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("private addresses", () => {
  const hidden = [
    ["0.0.0.0", "0.255.255.255"],
    ["10.0.0.0", "10.255.255.255"],
    ["100.64.0.0", "100.127.255.255"],
    ["127.0.0.1", "127.255.255.255"],
    ["169.254.169.254", "168.63.129.16"],
    ["172.16.0.0", "172.31.255.255"],
    ["192.168.0.0", "192.168.255.255"],
    ["192.0.0.192", "224.0.0.1"],
    ["239.255.255.255", "240.0.0.0"],
    ["255.255.255.255", "254.0.0.1"],
  ].flat();
  const open = [
    ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"],
    ["169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"],
    ["203.0.113.5", "198.51.100.1", "192.0.2.1", "223.255.255.255"],
  ].flat();
  const hex = (ip: string): string => {
    const [a, b, c, d] = ip.split(".").map(Number) as [number, number, number, number];
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  };
  const embeddings = (ip: string): string[] => [
    ip,
    `::ffff:${ip}`,
    `::ffff:${hex(ip)}`,
    `0:0:0:0:0:ffff:${hex(ip)}`,
    `64:ff9b::${ip}`,
    `64:ff9b::${hex(ip)}`,
    `::ffff:0:${ip}`,
    `2002:${hex(ip)}::`,
    `2002:${hex(ip)}::1`,
    `2002:${hex(ip)}:1:2:3:4:5`,
  ];

  test.each(hidden)("%s, however embedded", (ip) => {
    expect([...embeddings(ip), `::${ip}`].filter((one) => !isPrivateAddress(one))).toEqual([]);
  });

  test.each(open)("not %s, however embedded", (ip) => {
    expect(embeddings(ip).filter((one) => isPrivateAddress(one))).toEqual([]);
  });

  test.each(["::", "::1", "fc00::1", "fd00:ec2::254", "fe80::1", "febf::1", "fec0::1", "ff02::1", "2001::1"])(
    "%s",
    (ip) => expect(isPrivateAddress(ip)).toBe(true),
  );

  test.each(["2606:4700:4700::1111", "2001:4860:4860::8888", "2001:db8::1", "fb00::1", "2003::1"])(
    "not %s",
    (ip) => expect(isPrivateAddress(ip)).toBe(false),
  );

  test.each(["", "example.com", "127.1", "0x7f.0.0.1", "fe80::1%eth0", "2606:4700::1%1"])(
    "and %j, which is no plain address",
    (text) => expect(isPrivateAddress(text)).toBe(true),
  );

  test("an embedded address is as private as the address itself", () => {
    fc.assert(
      fc.property(fc.ipV4(), (ip) => {
        const itself = isPrivateAddress(ip);
        expect(embeddings(ip).map(isPrivateAddress)).toEqual(embeddings(ip).map(() => itself));
      }),
    );
  });
});

// ── the proxy ───────────────────────────────────────────────────────────────────────────────────────────────────

const folder = temporaryFolder();
const closing: (() => unknown)[] = [];
let sockets = 0;
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Proxied {
  readonly proxy: NetworkProxy;
  readonly socket: string;
  /** What was resolved, and what was dialled. */
  readonly resolved: string[];
  readonly dialled: string[];
}

/** Public addresses of the tests; each is in truth a server on 127.0.0.1. */
const PUBLIC = "203.0.113.10";

/** A proxy for which every name leads to PUBLIC, and PUBLIC to this machine. */
async function proxyFor(
  allowed: readonly (string | Destination)[],
  options: Partial<NetworkProxyOptions> = {},
): Promise<Proxied> {
  const socket = path.join(folder, `${++sockets}.sock`);
  const resolved: string[] = [];
  const dialled: string[] = [];
  const { resolve = async () => [PUBLIC], connect = (_, port) => local(port) } = options;
  const proxy = await NetworkProxy.start({
    log: pino({ level: "silent" }),
    ...options,
    socket,
    allowed: allowed.map((one) => (typeof one === "string" ? parseDestination(one) : one)),
    resolve: (host) => {
      resolved.push(host);
      return resolve(host);
    },
    connect: (address, port) => {
      dialled.push(address);
      return connect(address, port);
    },
  });
  closing.push(() => proxy.stop());
  return { proxy, socket, resolved, dialled };
}

const local = (port: number): Socket => createConnection({ host: "127.0.0.1", port, allowHalfOpen: true });

interface Upstream {
  readonly port: number;
  readonly seen: { method: string; url: string; headers: IncomingMessage["headers"]; raw: string[] }[];
}

/** An HTTP server that notes what it gets. */
async function upstream(
  handle: (request: IncomingMessage, response: ServerResponse) => void = (_, response) =>
    response.end("hello"),
): Promise<Upstream> {
  const seen: Upstream["seen"] = [];
  const server = createHttp((incoming, response) => {
    const { method, url, headers, rawHeaders } = incoming;
    seen.push({ method: method!, url: url!, headers, raw: rawHeaders });
    handle(incoming, response);
  });
  return { port: await listening(server), seen };
}

/** A plain TCP server. */
function peer(handle: (socket: Socket) => void): Promise<number> {
  return listening(createServer({ allowHalfOpen: true }, handle));
}

async function listening(server: Server): Promise<number> {
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    socket.on("error", () => socket.destroy());
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** Sends bytes to the proxy as they are, and takes everything until the connection ends. */
async function raw(socket: string, text: string): Promise<string> {
  const client = dial(socket);
  client.write(text);
  return ending(client);
}

function dial(socket: string): Socket {
  const client = createConnection(socket);
  client.on("error", () => {});
  closing.push(() => client.destroy());
  return client;
}

async function ending(client: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  client.on("data", (chunk: Buffer) => chunks.push(chunk));
  await closed(client);
  return Buffer.concat(chunks).toString("latin1");
}

/** Unlike events.once, also for one that ends with an error. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

const get = (url: string, more = ""): string => `GET ${url} HTTP/1.1\r\nHost: ignored\r\n${more}\r\n`;
const connectTo = (authority: string, version = "1.1"): string =>
  `CONNECT ${authority} HTTP/${version}\r\nHost: ${authority}\r\n\r\n`;
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

/** A tunnel that stands. */
async function tunnel(socket: string, authority: string): Promise<Socket> {
  const client = dial(socket);
  client.write(connectTo(authority));
  const [first] = (await once(client, "data")) as [Buffer];
  expect(first.toString()).toBe("HTTP/1.1 200 Connection Established\r\n\r\n");
  return client;
}

async function eventually(fact: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!fact()) {
    if (Date.now() > end) throw new Error(`never: ${String(fact)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until a number does not change any more. */
async function standstill(number: () => number): Promise<void> {
  for (let before = -1; before !== number(); ) {
    before = number();
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function failureOf(action: () => unknown): ExecuteCodeError {
  try {
    action();
  } catch (error) {
    if (error instanceof ExecuteCodeError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("the proxy's socket", () => {
  test("is its owner's alone, and goes with it", async () => {
    const { proxy, socket } = await proxyFor([]);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    await proxy.stop();
    expect(existsSync(socket)).toBe(false);
  });

  test("cannot take a place that is taken", async () => {
    const { socket } = await proxyFor([]);
    await expect(NetworkProxy.start({ socket, allowed: [], log: pino({ level: "silent" }) })).rejects.toThrow(
      /EADDRINUSE/,
    );
  });

  test("stops in the midst of connections, dialling, waiting and relaying", async () => {
    const port = await peer(() => {});
    const pending = Promise.withResolvers<string[]>();
    const { proxy, socket } = await proxyFor([`a.example:${port}`, "b.example:443"], {
      resolve: (host) => (host === "a.example" ? Promise.resolve([PUBLIC]) : pending.promise),
    });
    const standing = await tunnel(socket, `a.example:${port}`);
    const silent = dial(socket);
    const dialling = dial(socket);
    dialling.write(connectTo("b.example:443"));
    await eventually(() => proxy.connections === 3);
    const ends = Promise.all([standing, silent, dialling].map((one) => closed(one)));
    await proxy.stop();
    await ends;
    expect(proxy.connections).toBe(0);
    pending.resolve([PUBLIC]);
  });
});

describe("plain http", () => {
  test("reaches what is listed, with the message's headers and those of the proxy's own making", async () => {
    const server = await upstream((_, response) => {
      response.writeHead(201, "Made", [
        "Set-Cookie",
        "a=1",
        "Set-Cookie",
        "b=2",
        "Keep-Alive",
        "x",
        "X-Y",
        "z",
      ]);
      response.end("body");
    });
    const { socket, dialled } = await proxyFor([`api.example:${server.port}`]);
    const answer = await raw(
      socket,
      `GET http://API.example:${server.port}/a/../b?q=%20 HTTP/1.1\r\nHost: other.example\r\nX-Kept: 1\r\n` +
        "Proxy-Authorization: secret\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nKeep-Alive: 5\r\n" +
        "Connection: keep-alive, X-Dropped\r\nX-Dropped: 1\r\nUpgrade: h2c\r\n\r\n",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 201 Made\r\n/);
    expect(answer.match(/set-cookie: /gi)).toHaveLength(2);
    expect(answer).toMatch(/connection: close/i);
    expect(answer).not.toMatch(/keep-alive/i);
    expect(server.seen).toHaveLength(1);
    const [{ url, headers }] = server.seen as [Upstream["seen"][0]];
    expect(url).toBe("/a/../b?q=%20");
    expect(headers).toEqual({
      host: `api.example:${server.port}`,
      "x-kept": "1",
      connection: "close",
    });
    expect(dialled).toEqual([PUBLIC]);
  });

  test.each([
    ["a body of a known length", "content-length: 5\r\n\r\nhello", { "content-length": "5" }],
    [
      "a chunked body",
      "transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
      { "transfer-encoding": "chunked" },
    ],
    [
      "a length that the sender calls hop-by-hop",
      "connection: content-length\r\ncontent-length: 5\r\n\r\nhello",
      { "content-length": "5" },
    ],
    [
      "a client that waits for leave",
      "expect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
      { "content-length": "5" },
    ],
  ])("carries %s", async (_, rest, framed) => {
    const bodies: string[] = [];
    const server = await upstream((incoming, response) => {
      void text(incoming).then((body) => {
        bodies.push(body);
        response.end("ok");
      });
    });
    const { socket } = await proxyFor([`a.example:${server.port}`]);
    for (const method of ["POST", "DELETE", "GET"]) {
      const answer = await raw(
        socket,
        `${method} http://a.example:${server.port}/ HTTP/1.1\r\nhost: x\r\n${rest}`,
      );
      expect(answer).toContain(" 200 OK");
    }
    expect(bodies).toEqual(["hello", "hello", "hello"]);
    for (const { headers } of server.seen) {
      const { host: _host, connection: _connection, ...others } = headers;
      expect(others).toEqual(framed);
    }
  });

  test("takes port 80 when none is named, and does not name it", async () => {
    const server = await upstream();
    const { socket } = await proxyFor(["a.example:80"], { connect: () => local(server.port) });
    expect(await raw(socket, get("http://a.example?x"))).toContain("hello");
    expect(server.seen[0]).toMatchObject({ url: "/?x", headers: { host: "a.example" } });
  });

  test.each([
    ["HEAD", "HEAD", 200, ""],
    ["204", "GET", 204, ""],
    ["304", "GET", 304, ""],
  ])("answers without a body: %s", async (_, method, status) => {
    const server = await upstream((_request, response) => response.writeHead(status, { etag: "x" }).end());
    const { socket } = await proxyFor([`a.example:${server.port}`]);
    const answer = await raw(
      socket,
      `${method} http://a.example:${server.port}/ HTTP/1.1\r\nhost: x\r\n\r\n`,
    );
    expect(answer).toContain(` ${status} `);
    expect(answer).toMatch(/\r\n\r\n$/);
  });

  test("speaks HTTP/1.0 too", async () => {
    const server = await upstream((_, response) => {
      response.write("in ");
      response.end("parts");
    });
    const { socket } = await proxyFor([`a.example:${server.port}`]);
    const answer = await raw(socket, `GET http://a.example:${server.port}/ HTTP/1.0\r\n\r\n`);
    expect(answer).toMatch(/\r\n\r\nin parts$/);
  });

  test("judges a redirect like any other request", async () => {
    const server = await upstream((_, response) =>
      response.writeHead(302, { location: "http://evil.example/" }).end(),
    );
    const { proxy, socket } = await proxyFor([`a.example:${server.port}`]);
    const first = await raw(socket, get(`http://a.example:${server.port}/`));
    expect(statusOf(first)).toBe(302);
    const location = /location: (\S+)/.exec(first)![1]!;
    expect(statusOf(await raw(socket, get(location)))).toBe(403);
    expect(proxy.refused).toBe(1);
  });

  test("serves one request a connection", async () => {
    const server = await upstream();
    const { socket, resolved } = await proxyFor([`a.example:${server.port}`]);
    const good = get(`http://a.example:${server.port}/1`);
    for (const second of [
      get("http://evil.example/"),
      connectTo("evil.example:443"),
      get(`http://a.example:${server.port}/2`),
    ]) {
      await raw(socket, good + second);
    }
    expect(server.seen.map(({ url }) => url).filter((url) => url !== "/1")).toEqual([]);
    expect(new Set(resolved)).toEqual(new Set(["a.example"]));
  });

  test("does not change to WebSockets", async () => {
    const server = await upstream();
    const { socket } = await proxyFor([`a.example:${server.port}`]);
    const upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
    expect(statusOf(await raw(socket, get(`http://a.example:${server.port}/`, upgrade)))).toBe(501);
    expect(server.seen).toEqual([]);
  });

  test.each([
    ["both framings", "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["two lengths", "content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"],
    ["a signed length", "content-length: +5\r\n\r\nhello"],
    ["an unknown coding", "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
    ["chunked not last", "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"],
    ["a space before the colon", "transfer-encoding : chunked\r\n\r\n0\r\n\r\n"],
    ["a folded header", "x: a\r\n b: c\r\n\r\n"],
    ["a bare line feed", "x: a\n\r\n\r\n"],
    ["too long a head", `x: ${"a".repeat(40_000)}\r\n\r\n`],
  ])("refuses what may be read in two ways: %s", async (_, rest) => {
    const server = await upstream();
    const { socket } = await proxyFor([`a.example:${server.port}`]);
    const answer = await raw(socket, `POST http://a.example:${server.port}/ HTTP/1.1\r\nhost: x\r\n${rest}`);
    expect([400, 431, 501]).toContain(statusOf(answer));
    expect(server.seen).toEqual([]);
  });

  test.each(["/path", "*", "https://a.example/", "ftp://a.example/", "http:/a.example/"])(
    "is told what a proxy takes: %s",
    async (url) => {
      const { socket, resolved } = await proxyFor(["a.example:80", "a.example:443"]);
      expect(statusOf(await raw(socket, get(url)))).toBe(400);
      expect(resolved).toEqual([]);
    },
  );
});

describe("tunnels", () => {
  test.each(["1.1", "1.0"])("carry bytes both ways, and each end by itself (HTTP/%s)", async (version) => {
    const port = await peer((socket) => {
      void text(socket).then((sent) => socket.end(`got ${sent}`));
    });
    const { socket } = await proxyFor([`a.example:${port}`]);
    const client = createConnection({ path: socket, allowHalfOpen: true });
    client.end(`${connectTo(`A.Example:${port}`, version)}early bytes`);
    expect(await text(client)).toBe("HTTP/1.1 200 Connection Established\r\n\r\ngot early bytes");
  });

  test("pass the end of the destination on", async () => {
    const port = await peer((socket) => socket.end("bye"));
    const { proxy, socket } = await proxyFor([`a.example:${port}`]);
    expect(await raw(socket, connectTo(`a.example:${port}`))).toMatch(/\r\n\r\nbye$/);
    await eventually(() => proxy.connections === 0);
  });

  test("end with a destination that resets, and with a client that is gone", async () => {
    const ends: Promise<unknown>[] = [];
    const port = await peer((socket) => {
      ends.push(closed(socket));
      socket.once("data", () => socket.resetAndDestroy());
      socket.once("end", () => socket.end());
    });
    const { proxy, socket } = await proxyFor([`a.example:${port}`]);
    const reset = await tunnel(socket, `a.example:${port}`);
    reset.write("x");
    await closed(reset);
    const left = await tunnel(socket, `a.example:${port}`);
    left.destroy();
    await Promise.all(ends);
    expect(ends).toHaveLength(2);
    await eventually(() => proxy.connections === 0);
  });

  test("that are silent are closed", async () => {
    const port = await peer(() => {});
    const { proxy, socket } = await proxyFor([`a.example:${port}`], { deadlines: { idleMs: 100 } });
    const client = await tunnel(socket, `a.example:${port}`);
    await closed(client);
    await eventually(() => proxy.connections === 0);
  });
});

describe("what is not listed", () => {
  const listed = [
    "example.com:443",
    "example.com:80",
    "203.0.113.9:443",
    "[2001:db8::9]:443",
    "bücher.de:443",
  ];
  const tricks = [
    ["another host", "evil.com:443"],
    ["another port", "example.com:8443"],
    ["no port", "example.com"],
    ["an empty port", "example.com:"],
    ["a port with a zero", "example.com:0443"],
    ["a port too high", "example.com:65979"],
    ["a suffix", "evil-example.com:443"],
    ["a subdomain", "www.example.com:443"],
    ["a name around it", "example.com.evil.com:443"],
    ["a parent", "com:443"],
    ["a trailing dot", "example.com.:443"],
    ["userinfo", "example.com:443@evil.com:443"],
    ["userinfo before it", "evil.com@example.com:443"],
    ["a backslash", "example.com:443\\@evil.com"],
    ["an escape", "ex%61mple.com:443"],
    ["an escaped NUL", "example.com%00.evil.com:443"],
    ["a fullwidth letter's bytes", "\u00ef\u00bd\u0085xample.com:443"],
    ["a homograph in punycode", "xn--xample-2of.com:443"],
    ["IDN in UTF-8", "b\u00c3\u00bccher.de:443"],
    ["an address of the list in hex", "0xcb007109:443"],
    ["in decimal", "3405803785:443"],
    ["in octal", "0313.0.0161.011:443"],
    ["in three parts", "203.0.28937:443"],
    ["mapped", "[::ffff:203.0.113.9]:443"],
    ["mapped in hex", "[::ffff:cb00:7109]:443"],
    ["IPv6 with zeros", "[2001:db8:0:0:0:0:0:9]:443"],
    ["IPv6 with a zone", "[2001:db8::9%25lo]:443"],
    ["IPv6 without brackets", "2001:db8::9:443"],
    ["the loopback", "127.0.0.1:443"],
    ["the metadata address", "169.254.169.254:80"],
    ["localhost", "localhost:443"],
    ["an address behind a listed name", `${PUBLIC}:443`],
  ] as const;

  test.each(tricks)("%s: no tunnel", async (_, authority) => {
    const { proxy, socket, resolved, dialled } = await proxyFor(listed);
    const answer = await raw(socket, connectTo(authority));
    // What no authority is written with is stopped by the parser.
    expect(statusOf(answer)).toBe(/[\u0080-\u00ff\\]/.test(authority) ? 400 : 403);
    expect({ resolved, dialled }).toEqual({ resolved: [], dialled: [] });
    expect(proxy.connections).toBe(0);
  });

  test.each(tricks.filter(([name]) => name !== "no port" && name !== "an empty port"))(
    "%s: no plain http",
    async (_, authority) => {
      const { socket, resolved, dialled } = await proxyFor(listed);
      expect([400, 403]).toContain(statusOf(await raw(socket, get(`http://${authority}/`))));
      expect({ resolved, dialled }).toEqual({ resolved: [], dialled: [] });
    },
  );

  test("is answered with what was asked for and what would allow it", async () => {
    const { proxy, socket } = await proxyFor(listed);
    for (const ask of [connectTo("evil.com:8443"), get("http://evil.com:8443/")]) {
      const answer = await raw(socket, ask);
      const [head, body] = answer.split("\r\n\r\n");
      expect(head).toContain("HTTP/1.1 403 Forbidden (allow it with --allow-net evil.com:8443)");
      expect(head).toContain("text/plain");
      expect(body).toContain("evil.com:8443 is not on the session's allow-list");
      expect(body).toContain("--allow-net evil.com:8443");
    }
    expect(proxy.refused).toBe(2);
    expect(await raw(socket, connectTo("10.0.0.1:22"))).toContain("--allow-private-net 10.0.0.1:22");
    expect(await raw(socket, connectTo("example.com.:443"))).not.toContain("--allow");
  });

  test("by whatever authority: only the list's own texts are resolved", async () => {
    const { socket, resolved } = await proxyFor(["example.com:443"]);
    const alphabet = fc.constantFrom(..."example.com:443@[]%0-".split(""));
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: alphabet, minLength: 1, maxLength: 24 }), async (authority) => {
        fc.pre(authority.toLowerCase() !== "example.com:443");
        const status = statusOf(await raw(socket, connectTo(authority)));
        expect([400, 403]).toContain(status);
      }),
      { numRuns: 200 },
    );
    expect(resolved).toEqual([]);
  });
});

describe("where names lead", () => {
  test.each([
    ["loopback", ["127.0.0.1"]],
    ["IPv6 loopback", ["::1"]],
    ["metadata", ["169.254.169.254"]],
    ["mapped metadata", ["::ffff:169.254.169.254"]],
    ["NAT64 of a private address", ["64:ff9b::a00:1"]],
    ["one private among public ones", [PUBLIC, "10.0.0.1"]],
    ["no address at all", ["localhost"]],
  ])("nothing private: %s", async (_, addresses) => {
    const { proxy, socket, dialled } = await proxyFor(["a.example:443", "a.example:80"], {
      resolve: async () => addresses,
    });
    const answer = await raw(socket, connectTo("a.example:443"));
    expect(statusOf(answer)).toBe(403);
    expect(answer).toContain("a.example:443 leads to a private address");
    expect(answer).toContain("--allow-private-net a.example:443");
    expect(answer).not.toContain(addresses.at(-1)!);
    expect(statusOf(await raw(socket, get("http://a.example/")))).toBe(403);
    expect(dialled).toEqual([]);
    expect(proxy.refused).toBe(2);
  });

  test("listed addresses are dialled without a look-up; private ones only when configured so", async () => {
    const port = await peer((socket) => socket.end("in"));
    const own: Destination = { ...parseDestination(`127.0.0.1:${port}`), private: true };
    const named: Destination = { ...parseDestination(`db.internal:${port}`), private: true };
    const { socket, resolved, dialled } = await proxyFor(
      [`${PUBLIC}:${port}`, `127.0.0.2:${port}`, own, named, `[2001:db8::9]:${port}`],
      { resolve: async () => ["10.1.2.3"] },
    );
    expect(statusOf(await raw(socket, connectTo(`127.0.0.2:${port}`)))).toBe(403);
    expect(dialled).toEqual([]);
    for (const host of [PUBLIC, "127.0.0.1", "[2001:DB8::9]", "db.internal"]) {
      expect(await raw(socket, connectTo(`${host}:${port}`))).toMatch(/in$/);
    }
    expect(dialled).toEqual([PUBLIC, "127.0.0.1", "2001:db8::9", "10.1.2.3"]);
    expect(resolved).toEqual(["db.internal"]);
  });

  test("an answer that changes is judged anew each time; what is dialled is what was judged", async () => {
    const port = await peer((socket) => socket.end("in"));
    const answers = [[PUBLIC], ["127.0.0.1"], [PUBLIC], ["::ffff:127.0.0.1"]];
    const { socket, resolved, dialled } = await proxyFor([`a.example:${port}`], {
      resolve: async () => answers.shift()!,
    });
    const statuses: number[] = [];
    for (let round = 0; round < 4; round++) {
      statuses.push(statusOf(await raw(socket, connectTo(`a.example:${port}`))));
    }
    expect(statuses).toEqual([200, 403, 200, 403]);
    expect(resolved).toHaveLength(4);
    expect(dialled).toEqual([PUBLIC, PUBLIC]);
  });

  test("the next address is tried when one does not answer", async () => {
    const port = await peer((socket) => socket.end("in"));
    const closed = await peer(() => {});
    await closing.pop()!();
    const { socket, dialled } = await proxyFor([`a.example:${port}`], {
      resolve: async () => ["203.0.113.1", "203.0.113.2"],
      connect: (address) => local(address === "203.0.113.1" ? closed : port),
    });
    expect(await raw(socket, connectTo(`a.example:${port}`))).toMatch(/in$/);
    expect(dialled).toEqual(["203.0.113.1", "203.0.113.2"]);
  });

  test("the machine's resolver and TCP, for what the user has configured", async () => {
    const server = await upstream();
    const socket = path.join(folder, "machine.sock");
    await using proxy = await NetworkProxy.start({
      socket,
      allowed: [{ host: "localhost", port: server.port, private: true }, parseDestination("localhost:1")],
      log: pino({ level: "silent" }),
    });
    const answers = await Promise.all(
      [1, 2, 3].map(() => raw(socket, get(`http://localhost:${server.port}/`))),
    );
    for (const answer of answers) expect(answer).toMatch(/hello$/);
    expect(statusOf(await raw(socket, connectTo("localhost:1")))).toBe(403);
    expect(proxy.refused).toBe(1);
  });
});

describe("failures on the way", () => {
  const asks = (port: number): string[] => [connectTo(`a.example:${port}`), get(`http://a.example:${port}/`)];

  test("a name that cannot be resolved: 502; not in time: 504", async () => {
    const unknown = await proxyFor(["a.example:443"], {
      resolve: () => Promise.reject(new Error("ENOTFOUND")),
    });
    const none = await proxyFor(["a.example:443"], { resolve: async () => [] });
    const slow = await proxyFor(["a.example:443"], {
      resolve: () => new Promise(() => {}),
      deadlines: { resolveMs: 50 },
    });
    for (const ask of asks(443)) {
      expect(await raw(unknown.socket, ask)).toMatch(/^HTTP\/1\.1 502 [\s\S]*cannot be resolved: ENOTFOUND/);
      expect(statusOf(await raw(none.socket, ask))).toBe(502);
      expect(statusOf(await raw(slow.socket, ask))).toBe(504);
    }
  });

  test("nobody listens: 502", async () => {
    const port = await peer(() => {});
    await closing.pop()!();
    const { socket } = await proxyFor([`a.example:${port}`]);
    for (const ask of asks(port)) {
      expect(await raw(socket, ask)).toMatch(/^HTTP\/1\.1 502 [\s\S]*cannot be reached: .*ECONNREFUSED/);
    }
  });

  test("nobody answers: 504, for one address or several", async () => {
    const { socket } = await proxyFor(["a.example:443"], {
      resolve: async () => ["203.0.113.1", "203.0.113.2"],
      connect: () => new (createConnection({ port: 1 }).on("error", () => {}).constructor as typeof Socket)(),
      deadlines: { connectMs: 50 },
    });
    for (const ask of asks(443)) expect(statusOf(await raw(socket, ask))).toBe(504);
  });

  test("a destination that says no HTTP, hangs up, or is silent", async () => {
    const garbage = await peer((socket) => socket.end("220 mail.example ESMTP\r\n"));
    const hangsUp = await peer((socket) => socket.once("data", () => socket.resetAndDestroy()));
    const silent = await peer(() => {});
    const switches = await peer((socket) =>
      socket.once("data", () =>
        socket.write("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
      ),
    );
    const { proxy, socket } = await proxyFor(
      [garbage, hangsUp, silent, switches].map((port) => `a.example:${port}`),
      { deadlines: { idleMs: 100 } },
    );
    const answers: string[] = [];
    for (const port of [garbage, hangsUp, switches, silent]) {
      answers.push(await raw(socket, get(`http://a.example:${port}/`)));
    }
    expect(answers.map(statusOf)).toEqual([502, 502, 502, 504]);
    await eventually(() => proxy.connections === 0);
  });

  test("an answer that breaks off is not taken for a whole one", async () => {
    const server = await upstream((_, response) => {
      response.write("half");
      setImmediate(() => response.socket?.resetAndDestroy());
    });
    const { socket } = await proxyFor([`a.example:${server.port}`]);
    const answer = await raw(socket, get(`http://a.example:${server.port}/`));
    expect(answer).not.toMatch(/0\r\n\r\n$/);
  });

  test("a client that goes away takes its request with it", async () => {
    const gone = Promise.withResolvers<void>();
    const server = await upstream((_, response) => {
      response.once("close", () => gone.resolve());
      response.write("start");
    });
    const { proxy, socket } = await proxyFor([`a.example:${server.port}`]);
    const client = dial(socket);
    client.write(get(`http://a.example:${server.port}/`));
    await once(client, "data");
    client.destroy();
    await gone.promise;
    await eventually(() => proxy.connections === 0);
  });

  test("a client that goes away in the midst of dialling", async () => {
    const made: Socket[] = [];
    const { proxy, socket } = await proxyFor(["a.example:80"], {
      connect: () => {
        const never = createConnection({ path: path.join(folder, "nowhere") });
        never.removeAllListeners("error");
        made.push(never);
        return never;
      },
      resolve: () => new Promise((resolve) => setTimeout(() => resolve([PUBLIC]), 50)),
    });
    const client = dial(socket);
    client.write(get("http://a.example/"));
    await eventually(() => proxy.connections === 1);
    client.destroy();
    await eventually(() => proxy.connections === 0);
  });
});

describe("much, and slow", () => {
  const BIG = 48 * MiB;

  test("big bodies both ways, with no more in the daemon than pipes hold", async () => {
    let received = 0;
    const server = await upstream((incoming, response) => {
      incoming.on("data", (chunk: Buffer) => (received += chunk.length));
      incoming.on("end", () => {
        response.writeHead(200, { "content-length": BIG });
        const block = Buffer.alloc(MiB, "y");
        let left = BIG / MiB;
        const more = (): void => {
          while (left > 0) {
            left -= 1;
            if (!response.write(block)) {
              response.once("drain", more);
              return;
            }
          }
          response.end();
        };
        more();
      });
    });
    const { socket } = await proxyFor([`a.example:${server.port}`]);
    const outgoing = request({
      socketPath: socket,
      method: "PUT",
      path: `http://a.example:${server.port}/`,
      headers: { "content-length": BIG },
    });
    const block = Buffer.alloc(MiB, "x");
    for (let sent = 0; sent < BIG; sent += MiB) {
      if (!outgoing.write(block)) await once(outgoing, "drain");
    }
    outgoing.end();
    const [response] = (await once(outgoing, "response")) as [IncomingMessage];
    let returned = 0;
    for await (const chunk of response) returned += (chunk as Buffer).length;
    expect({ received, returned }).toEqual({ received: BIG, returned: BIG });
  });

  test.each(["tunnel", "plain"])("who does not read stops who sends: %s", async (kind) => {
    let sent = 0;
    const port = await peer((socket) => {
      const block = Buffer.alloc(64 * 1024, "z");
      const pump = (): void => {
        while (sent < 512 * MiB) {
          sent += block.length;
          if (!socket.write(block)) {
            socket.once("drain", pump);
            return;
          }
        }
      };
      socket.once("data", () => {
        if (kind === "plain") socket.write("HTTP/1.1 200 OK\r\n\r\n");
        pump();
      });
    });
    const { socket } = await proxyFor([`a.example:${port}`]);
    const client = dial(socket);
    client.pause();
    client.write(kind === "plain" ? get(`http://a.example:${port}/`) : `${connectTo(`a.example:${port}`)}go`);
    await standstill(() => sent);
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(32 * MiB);
  });

  test("heads that do not arrive are given up", async () => {
    const { proxy, socket } = await proxyFor(["a.example:80"], { deadlines: { headMs: 200 } });
    const silent = dial(socket);
    const dripping = dial(socket);
    dripping.write("GET http://a.example/ HTTP/1.1\r\n");
    const drip = setInterval(() => dripping.write("x"), 20);
    await Promise.all([closed(silent), closed(dripping)]);
    clearInterval(drip);
    await eventually(() => proxy.connections === 0);
  });

  test("a connection too many is told so at once; a closed one makes room", async () => {
    const port = await peer((socket) => socket.end("in"));
    const { proxy, socket } = await proxyFor([`a.example:${port}`]);
    const silent = Array.from({ length: 64 }, () => dial(socket));
    await eventually(() => proxy.connections === 64);
    const told = await ending(dial(socket));
    expect(told).toMatch(/^HTTP\/1\.1 503 [\s\S]*at most 64 connections/);
    silent[0]!.destroy();
    await eventually(() => proxy.connections === 63);
    expect(await raw(socket, connectTo(`a.example:${port}`))).toMatch(/in$/);
  });

  test("a connection counts until its destination has taken everything", async () => {
    const taking = Promise.withResolvers<void>();
    let taken = 0;
    const port = await peer((socket) => {
      socket.pause();
      void taking.promise.then(() => {
        socket.on("data", (chunk) => (taken += chunk.length)).resume();
        socket.once("end", () => socket.end());
      });
    });
    const { proxy, socket } = await proxyFor([`a.example:${port}`]);
    const client = await tunnel(socket, `a.example:${port}`);
    const pump = (): void => {
      while (client.write(Buffer.alloc(64 * 1024)));
    };
    client.on("drain", pump);
    pump();
    await standstill(() => client.bytesWritten);
    client.destroy();
    await closed(client);
    expect(proxy.connections).toBe(1);
    taking.resolve();
    await eventually(() => proxy.connections === 0);
    expect(taken).toBeGreaterThan(0);
  });

  test("1,000 slow connections: capped, the rest answered at once, and the daemon undisturbed", async () => {
    const server = await upstream();
    const { proxy, socket } = await proxyFor([`a.example:${server.port}`]);
    const lag = monitorEventLoopDelay({ resolution: 5 });
    lag.enable();
    const clients = Array.from({ length: 1_000 }, () => dial(socket));
    const answers = clients.map((client) => {
      client.write("GET http://a.example/ HTTP/1.1\r\nx: ");
      return ending(client);
    });
    await eventually(() => clients.filter((client) => client.closed).length === 1_000 - 64);
    lag.disable();
    expect(proxy.connections).toBe(64);
    for (const client of clients) client.destroy();
    const statuses = (await Promise.all(answers)).map(statusOf);
    // Who writes into a closed connection may never come to read its answer.
    expect(new Set(statuses.filter((status) => !Number.isNaN(status)))).toEqual(new Set([503]));
    await eventually(() => proxy.connections === 0);
    expect(statusOf(await raw(socket, get(`http://a.example:${server.port}/`)))).toBe(200);
    // Both sides are in this process, with its tests: the daemon's share is a part of it.
    expect(lag.percentile(99) / 1e6).toBeLessThan(500);
  });
});

async function text(stream: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
