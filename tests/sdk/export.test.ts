/** What becomes of an export whose connection breaks. */
import { existsSync, rmSync } from "node:fs";
import path from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Client, createClient } from "../../src/sdk/index.ts";
import { temporaryFolder } from "../support/home.ts";
import { type Fixture, serve } from "./fixture.ts";

let home: string;
let client: Client;
let server: Fixture;
/** Answers that break off before they are complete. */
let breaks: number;

beforeEach(async () => {
  home = temporaryFolder();
  client = createClient({ home, start: false });
  server = await serve(home, (seen, response) => {
    if (seen.url === "/v1/health") {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": "text/markdown" });
    response.write("# Session\n");
    if (breaks > 0) {
      breaks -= 1;
      setImmediate(() => response.destroy());
    } else response.end("whole\n");
  });
});
afterEach(async () => {
  await client.close();
  await server[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
});

test("it is asked for once more, and answered whole", async () => {
  breaks = 1;
  expect((await client.exportHistory("main", { format: "md", all: true })).toString()).toBe(
    "# Session\nwhole\n",
  );
  expect(server.seen.map(({ url }) => url).filter((url) => url.includes("export"))).toEqual([
    "/v1/sessions/main/export?format=md&line=all",
    "/v1/sessions/main/export?format=md&line=all",
  ]);
});

test("a file is there whole or not at all", async () => {
  breaks = 2;
  const file = path.join(home, "export.md");
  await expect(client.exportHistory("main", { to: file })).rejects.toMatchObject({
    code: "connection_lost",
    remedy: "Export it again; the daemon's log names the cause.",
  });
  expect(existsSync(file)).toBe(false);
  expect(await client.exportHistory("main", { to: file })).toBe(16);
});

test("what a stream was given is not given again", async () => {
  breaks = 1;
  const to = new PassThrough();
  to.resume();
  await expect(client.exportHistory("main", { to })).rejects.toMatchObject({ code: "connection_lost" });
  expect(server.seen.filter(({ url }) => url.includes("export"))).toHaveLength(1);
});
