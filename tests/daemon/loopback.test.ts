/** The API on a TCP port: for who has the token, and nobody's web page. */
import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { request } from "node:http";
import { connect as dial } from "node:net";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { daemonSocket } from "../../src/contract/location.ts";
import { connect } from "../../src/sdk/index.ts";
import { type TestHome, temporaryFolder } from "../support/home.ts";

let home: TestHome;
let url: URL;
let token: string;

beforeAll(async () => {
  const folder = temporaryFolder();
  const client = await connect({
    home: folder,
    http: "127.0.0.1:0",
    env: { ...process.env, EXECUTE_CODE_WARM: "1" },
  });
  home = {
    home: folder,
    client,
    async [Symbol.asyncDispose]() {
      await client.stop({ drainMs: 0 });
      await client.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  const { http } = await client.health();
  url = new URL(http!.url);
  token = readFileSync(http!.token_file, "utf8").trim();
});
afterAll(() => home[Symbol.asyncDispose]());

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

function ask({ method = "GET", path = "/v1/health", headers = {}, body }: Asked) {
  return new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; text: string }>(
    (resolve, reject) => {
      const outgoing = request({ host: url.hostname, port: url.port, method, path, headers }, (incoming) => {
        let text = "";
        incoming.setEncoding("utf8");
        incoming.on("data", (chunk: string) => {
          text += chunk;
        });
        incoming.on("end", () => resolve({ status: incoming.statusCode!, headers: incoming.headers, text }));
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    },
  );
}

const bearer = () => ({ authorization: `Bearer ${token}` });

test("with the token it serves what the socket serves", async () => {
  const health = await ask({ headers: bearer() });
  expect(health.status).toBe(200);
  const run = await ask({
    method: "POST",
    path: "/v1/executions",
    headers: { ...bearer(), "content-type": "application/json" },
    body: JSON.stringify({ session: "s", code: "6 * 7" }),
  });
  expect(JSON.parse(run.text)).toMatchObject({ status: "ok", result: { text: "42" } });
});

test("the token is this user's alone, and stays", async () => {
  const { http } = await home.client.health();
  expect(statSync(http!.token_file).mode & 0o777).toBe(0o600);
  expect(token).toMatch(/^[0-9a-f]{32,}$/);
});

describe("who has no token", () => {
  test.each([
    ["none", {}],
    ["an empty one", { authorization: "Bearer " }],
    ["a wrong one", { authorization: `Bearer ${"0".repeat(64)}` }],
    ["one of another length", { authorization: "Bearer x" }],
    ["another scheme", { authorization: "Basic eDp5" }],
  ])("%s", async (_, headers: Record<string, string>) => {
    const answer = await ask({ headers });
    expect(answer.status).toBe(401);
    expect(answer.headers["www-authenticate"]).toBe("Bearer");
    expect(JSON.parse(answer.text)).toMatchObject({ code: "unauthorized" });
  });

  test("learns nothing of what there is", async () => {
    expect((await ask({ path: "/v1/no-such-thing" })).status).toBe(401);
    expect((await ask({ method: "POST", path: "/v1/executions" })).status).toBe(401);
    expect((await ask({ path: `/v1/health?token=${token}` })).status).toBe(401);
  });

  test("gets no WebSocket either", async () => {
    const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
    const answer = await ask({ headers: { ...upgrade, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" } });
    expect(answer.status).toBe(401);
  });
});

describe("web pages", () => {
  test.each([
    ["a foreign host name", { host: "evil.example" }],
    ["a foreign host name with the port", () => ({ host: `evil.example:${url.port}` })],
    ["a name that begins like ours", () => ({ host: `127.0.0.1.evil.example:${url.port}` })],
    ["the right name with another port", { host: "127.0.0.1:1" }],
    ["a foreign origin", { origin: "https://evil.example" }],
    ["the null origin", { origin: "null" }],
    ["another port's origin", { origin: "http://127.0.0.1:1" }],
    ["a cross-site fetch", { "sec-fetch-site": "cross-site" }],
    ["another port's fetch", { "sec-fetch-site": "same-site" }],
  ])("%s", async (_, headers: Record<string, string> | (() => Record<string, string>)) => {
    const given = typeof headers === "function" ? headers() : headers;
    const answer = await ask({ headers: { ...bearer(), ...given } });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.text)).toMatchObject({ code: "forbidden" });
  });

  test("our own may", async () => {
    const own = { origin: `http://localhost:${url.port}`, host: `localhost:${url.port}` };
    expect((await ask({ headers: { ...bearer(), ...own } })).status).toBe(200);
  });

  test("a request without a host", async () => {
    const said = await new Promise<string>((resolve) => {
      let text = "";
      const socket = dial(Number(url.port), url.hostname, () =>
        socket.write(`GET /v1/health HTTP/1.0\r\nauthorization: Bearer ${token}\r\n\r\n`),
      );
      socket.on("data", (chunk) => {
        text += String(chunk);
      });
      socket.on("close", () => resolve(text));
    });
    expect(said).toMatch(/^HTTP\/1\.1 403 /);
  });
});

test("forms and links do nothing", async () => {
  const form = { ...bearer(), "content-type": "text/plain" };
  const body = JSON.stringify({ code: "1" });
  expect((await ask({ method: "POST", path: "/v1/executions", headers: form, body })).status).toBe(415);
  expect((await ask({ path: "/v1/daemon/stop", headers: bearer() })).status).toBe(405);
  expect((await ask({ path: "/v1/sessions/s/close", headers: bearer() })).status).toBe(405);
});

test.each([
  "0.0.0.0:0",
  "[::]:0",
  "192.168.1.1:0",
  "example.com:80",
  "127.0.0.1",
  "127.0.0.1:99999",
  ":0",
  "*:80",
])("%s is no address to serve on", async (http) => {
  const folder = temporaryFolder();
  await expect(connect({ home: folder, http })).rejects.toMatchObject({ code: "invalid_request" });
  expect(existsSync(`${folder}/http-token`)).toBe(false);
  rmSync(folder, { recursive: true, force: true });
});

test("the socket lies in a folder of this user alone", async () => {
  const folder = temporaryFolder();
  await using client = await connect({ home: folder });
  expect((await client.health()).http).toBeNull();
  const socket = daemonSocket(folder);
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  expect(statSync(path.dirname(socket)).mode & 0o777).toBe(0o700);
  await client.stop({ drainMs: 0 });
  rmSync(folder, { recursive: true, force: true });
});
