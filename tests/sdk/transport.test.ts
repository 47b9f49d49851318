import { rmSync } from "node:fs";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { createClient, ExecuteCodeError, type ExecutionEvent, statusLine } from "../../src/sdk/index.ts";
import { temporaryFolder } from "../support/home.ts";
import { answerJson, ID, record, serve } from "./fixture.ts";

const homes: string[] = [];
let home: string;
beforeEach(() => {
  home = temporaryFolder();
  homes.push(home);
});
afterAll(() => {
  for (const one of homes) rmSync(one, { recursive: true, force: true });
});

const clientOf = () => createClient({ home, start: false, env: {} });

async function failure(promise: Promise<unknown>): Promise<ExecuteCodeError> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof ExecuteCodeError) return error;
  throw new Error(`expected an ExecuteCodeError, got ${String(error)}`);
}

const line = (event: object) => `${JSON.stringify(event)}\n`;
const accepted = line({ type: "accepted", id: ID, session: "main", offset: 1 });

describe("requests", () => {
  test("carry a new idempotency key each, the client's name, and no more than was given", async () => {
    await using server = await serve(home, (_, response) => answerJson(response, record()));
    await using client = createClient({ home, start: false, env: {}, client: "test" });
    await client.execute({ code: "1" });
    await client.execute({
      code: "1",
      session: "s",
      timeoutMs: 5,
      onTimeout: "interrupt",
      durability: "relaxed",
    });
    const [first, second] = server.seen.map((one) => one.body as Record<string, unknown>);
    expect(first).toEqual({
      code: "1",
      client: "test",
      idempotency_fresh: true,
      idempotency_key: expect.any(String),
    });
    expect(second).toEqual({
      code: "1",
      client: "test",
      idempotency_key: expect.any(String),
      idempotency_fresh: true,
      session: "s",
      timeout_ms: 5,
      on_timeout: "interrupt",
      durability: "relaxed",
    });
    expect(first?.idempotency_key).not.toBe(second?.idempotency_key);
  });

  test("carry EXECUTE_CODE_PYTHON of the client, a path made absolute", async () => {
    await using server = await serve(home, (_, response) => answerJson(response, record()));
    for (const python of ["python3.12", "./venv/bin/python"]) {
      await using client = createClient({ home, start: false, env: { EXECUTE_CODE_PYTHON: python } });
      await client.execute({ code: "1" });
    }
    expect(server.seen.map((one) => (one.body as { python: string }).python)).toEqual([
      "python3.12",
      `${process.cwd()}/venv/bin/python`,
    ]);
  });

  test("escape what they put into an address", async () => {
    await using server = await serve(home, (_, response) =>
      answerJson(response, { code: "unknown_session", message: "m", remedy: "r", retryable: false }, 404),
    );
    await using client = clientOf();
    const error = await failure(client.showSession("a/b ü{session}?"));
    expect(error.code).toBe("unknown_session");
    expect(error.message).toBe("m");
    expect(error.remedy).toBe("r");
    expect(server.seen[0]?.url).toBe("/v1/sessions/a%2Fb%20%C3%BC%7Bsession%7D%3F");
    for (const name of ["", ".", ".."])
      expect((await failure(client.showSession(name))).code).toBe("invalid_request");
  });

  test("are repeated once when the connection breaks, with the same key", async () => {
    let calls = 0;
    await using server = await serve(home, (seen, response) => {
      if (seen.url === "/v1/executions" && ++calls === 1) response.destroy();
      else answerJson(response, record());
    });
    await using client = clientOf();
    expect((await client.execute({ code: "1" })).status).toBe("ok");
    const bodies = server.seen.filter((one) => one.method === "POST").map((one) => one.body);
    expect(bodies).toHaveLength(2);
    expect(bodies[0]).toMatchObject({ idempotency_fresh: true });
    expect(bodies[1]).toEqual({ ...(bodies[0] as object), idempotency_fresh: false });
  });

  test("fail with connection_lost when it breaks again", async () => {
    await using _server = await serve(home, (seen, response) => {
      if (seen.method === "POST") response.destroy();
      else answerJson(response, {});
    });
    await using client = clientOf();
    expect((await failure(client.execute({ code: "1" }))).code).toBe("connection_lost");
  });

  test("that change a session are not repeated", async () => {
    await using server = await serve(home, (_, response) => response.destroy());
    await using client = clientOf();
    expect((await failure(client.resetSession("main"))).code).toBe("connection_lost");
    expect(server.seen).toHaveLength(1);
  });

  test("survive the daemon's closing of an idle connection", async () => {
    await using server = await serve(home, (_, response) => {
      answerJson(response, record());
      response.on("finish", () => setImmediate(() => response.socket?.destroy()));
    });
    await using client = clientOf();
    for (let i = 0; i < 20; i++) await client.execute({ code: "1" });
    expect(server.seen.filter((one) => one.method === "POST").length).toBeGreaterThanOrEqual(20);
  });

  test("wait while the daemon stops, for the next one", async () => {
    let calls = 0;
    await using _server = await serve(home, (_, response) => {
      if (++calls < 4) {
        answerJson(response, { code: "daemon_stopping", message: "m", remedy: "r", retryable: true }, 503);
      } else answerJson(response, record());
    });
    await using client = clientOf();
    expect((await client.execute({ code: "1" })).status).toBe("ok");
    expect(calls).toBe(4);
  });

  test("without a daemon fail with daemon_unreachable, and name the socket", async () => {
    await using client = clientOf();
    const error = await failure(client.health());
    expect(error.code).toBe("daemon_unreachable");
    expect(error.details).toMatchObject({ socket: `${home}/daemon.sock` });
  });

  test.each([
    ["no JSON", "<html>"],
    ["another form", '{"id":1}'],
  ])("answered with %s fail as internal", async (_, text) => {
    await using _server = await serve(home, (_seen, response) => response.end(text));
    await using client = clientOf();
    expect((await failure(client.execution(ID))).code).toBe("internal");
  });

  test("after close fail, and those under way too", async () => {
    await using _server = await serve(home, () => {});
    const client = clientOf();
    const pending = failure(client.execute({ code: "1" }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await client.close();
    expect((await pending).message).toBe("This client is closed.");
    expect((await failure(client.health())).message).toBe("This client is closed.");
  });
});

describe("streams", () => {
  const read = async (events: AsyncIterable<ExecutionEvent>) => {
    const all: ExecutionEvent[] = [];
    for await (const event of events) all.push(event);
    return all;
  };

  test("are put together from pieces that end anywhere", async () => {
    const text = "한국어 🙂".repeat(50);
    const bytes = Buffer.from(
      accepted +
        line({ type: "stdout", text, offset: 500 }) +
        line({ type: "end", record: record(), offset: 501 }),
    );
    await using _server = await serve(home, (_, response) => {
      void (async () => {
        for (let at = 0; at < bytes.length; at += 7) {
          response.write(bytes.subarray(at, at + 7));
          await new Promise((resolve) => setImmediate(resolve));
        }
        response.end();
      })();
    });
    await using client = clientOf();
    const events = await read(client.stream({ code: "1" }));
    expect(events.map((event) => event.type)).toEqual(["accepted", "stdout", "end"]);
    expect(events[1]).toMatchObject({ text });
  });

  test("go on at the last offset when they break, as often as they get further", async () => {
    const chunks = ["a", "b", "c", "d", "e", "f", "g"];
    await using server = await serve(home, (seen, response) => {
      response.setHeader("content-type", "application/x-ndjson");
      const offset =
        seen.method === "POST" ? 0 : Number(new URL(seen.url, "http://x").searchParams.get("offset"));
      if (offset === 0) response.write(accepted);
      const next = Math.max(offset, 1);
      const text = chunks[next - 1];
      if (text === undefined) {
        response.end(line({ type: "end", record: record({ stdout: chunks.join("") }), offset: next + 1 }));
        return;
      }
      // The next event arrives cut off.
      response.write(`${line({ type: "stdout", text, offset: next + 1 })}{"type":"std`, () =>
        response.destroy(),
      );
    });
    await using client = clientOf();
    const events = await read(client.stream({ code: "1" }));
    const output = events.flatMap((event) => (event.type === "stdout" ? [event.text] : []));
    expect(output).toEqual(chunks);
    expect(events.at(-1)?.type).toBe("end");
    const follows = server.seen.filter((one) => one.url.startsWith(`/v1/executions/${ID}/events`));
    expect(follows.map((one) => one.url.split("offset=")[1])).toEqual(["2", "3", "4", "5", "6", "7", "8"]);
  });

  test("that get no further fail with connection_lost", async () => {
    await using _server = await serve(home, (_, response) => {
      response.write(" ", () => response.destroy());
    });
    await using client = clientOf();
    expect((await failure(read(client.follow(ID)))).code).toBe("connection_lost");
  });

  test("throw the error that they end with", async () => {
    const error = { code: "result_not_recorded", message: "m", remedy: "r", retryable: false };
    await using _server = await serve(home, (_, response) =>
      response.end(accepted + line({ type: "failed", error, offset: 2 })),
    );
    await using client = clientOf();
    expect((await failure(read(client.stream({ code: "1" })))).code).toBe("result_not_recorded");
  });

  test("leaving the loop ends the connection", async () => {
    const closed = Promise.withResolvers<void>();
    await using _server = await serve(home, (_, response) => {
      response.on("close", closed.resolve);
      response.write(accepted);
    });
    await using client = clientOf();
    for await (const event of client.stream({ code: "1" })) {
      expect(event.type).toBe("accepted");
      break;
    }
    await closed.promise;
  });
});

test("the status line", () => {
  expect(statusLine(record())).toBe(`${ID} ok 42 ms session=main rev=17 state=retained`);
  expect(statusLine(record({ isolation: "none" }))).toBe(
    `${ID} ok 42 ms session=main rev=17 state=retained isolation=none`,
  );
});
