import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, ExecuteCodeError, type ExecutionEvent } from "../../src/sdk/index.ts";
import { type TestHome, testHome } from "../support/home.ts";

let at: TestHome;
let client: Client;
beforeAll(async () => {
  at = await testHome();
  client = at.client;
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return error instanceof ExecuteCodeError ? error.code : String(error);
}

const FOREVER = "import time\nprint('on', flush=True)\ntime.sleep(60)";

describe("execute", () => {
  test("answers the record", async () => {
    const session = await client.session("analysis");
    const run = await session.execute("import statistics; statistics.mean([1, 2, 3])");
    expect(run).toMatchObject({
      session: "analysis",
      status: "ok",
      result: { text: "2", mime: { "text/plain": "2" } },
      cause: { kind: "client", client: "sdk" },
      state: "retained",
    });
    expect(run.id).toMatch(/^exec_/);
  });

  test("an exception is a record, not a failure", async () => {
    const run = await client.execute({ code: "1/0", session: "analysis" });
    expect(run).toMatchObject({ status: "error", error: { type: "ZeroDivisionError", line: 1 } });
  });

  test("a key that was used answers its record; for other code it fails", async () => {
    const session = await client.session("keys");
    const first = await session.execute("n = globals().get('n', 0) + 1; n", { idempotencyKey: "k1" });
    const second = await session.execute("n = globals().get('n', 0) + 1; n", { idempotencyKey: "k1" });
    expect(second).toEqual(first);
    expect((await session.execute("n")).result?.text).toBe("1");
    expect(await codeOf(session.execute("2", { idempotencyKey: "k1" }))).toBe("idempotency_conflict");
  });

  test("a key that was used does not start the session anew either", async () => {
    const session = await client.session("fresh-keys");
    await session.execute("x = 1");
    const first = await session.execute("y = 2", { idempotencyKey: "k2", fresh: true });
    await session.execute("z = 3");
    expect(await session.execute("y = 2", { idempotencyKey: "k2", fresh: true })).toEqual(first);
    expect((await session.execute("(y, z)")).result?.text).toBe("(2, 3)");
  });

  test("detaches when its time is over, and can be waited for", async () => {
    const run = await client.execute({
      code: "import time; time.sleep(0.5); 7",
      session: "slow",
      timeoutMs: 100,
    });
    expect(run.status).toBe("running");
    expect((await client.wait(run.id, 1)).status).toBe("running");
    const ended = await client.wait(run.id);
    expect(ended).toMatchObject({ id: run.id, status: "ok", result: { text: "7" } });
    expect(await client.execution(run.id)).toEqual(ended);
  });

  test("interrupts when its time is over, if told so", async () => {
    const run = await client.execute({
      code: FOREVER,
      session: "slow",
      timeoutMs: 300,
      onTimeout: "interrupt",
    });
    expect(run).toMatchObject({ status: "timed_out", stdout: "on\n" });
  });

  test("a signal interrupts it; the record comes as ever", async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 400);
    const run = await client.execute({ code: FOREVER, session: "slow", signal: stop.signal });
    expect(run.status).toBe("interrupted");
  });

  test("a signal that is aborted before the call runs nothing", async () => {
    await expect(
      client.execute({ code: "1", session: "never", signal: AbortSignal.abort(new Error("no")) }),
    ).rejects.toThrow("no");
    expect(await codeOf(client.showSession("never"))).toBe("unknown_session");
  });

  test.each([
    ["", "empty_code"],
    ["x".repeat(2 * 1024 * 1024 + 1), "code_too_large"],
  ])("refuses code of a wrong size", async (code, expected) => {
    expect(await codeOf(client.execute({ code }))).toBe(expected);
  });
});

describe("stream", () => {
  const read = async (events: AsyncIterable<ExecutionEvent>) => {
    const all: ExecutionEvent[] = [];
    for await (const event of events) all.push(event);
    return all;
  };

  test("yields accepted, output, display, progress and end", async () => {
    const session = await client.session("stream");
    const events = await read(
      session.stream(
        "import sys\nfor i in range(3): print(i)\nprint('e', file=sys.stderr)\nec.display('d')\nec.progress(1, 2, 'half')\n5",
      ),
    );
    const text = (type: "stdout" | "stderr") =>
      events.flatMap((event) => (event.type === type ? [event.text] : [])).join("");
    expect(events[0]).toMatchObject({ type: "accepted", session: "stream" });
    expect(text("stdout")).toBe("0\n1\n2\n");
    expect(text("stderr")).toBe("e\n");
    expect(events.find((event) => event.type === "display")).toMatchObject({ update: false });
    expect(events.find((event) => event.type === "progress")).toMatchObject({
      done: 1,
      total: 2,
      message: "half",
    });
    expect(events.at(-1)).toMatchObject({ type: "end", record: { status: "ok", result: { text: "5" } } });
    const offsets = events.map((event) => event.offset);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
  });

  test("can be followed again from any event on", async () => {
    const session = await client.session("stream");
    const events = await read(session.stream("for i in range(5): print(i, flush=True)"));
    const first = events[0];
    if (first?.type !== "accepted") throw new Error("not accepted");
    const again = await read(client.follow(first.id, first.offset));
    expect(again.flatMap((event) => (event.type === "stdout" ? [event.text] : [])).join("")).toBe(
      "0\n1\n2\n3\n4\n",
    );
    expect(again.at(-1)).toMatchObject({ type: "end", record: { id: first.id } });
  });

  test("leaving the loop leaves the execution running", async () => {
    const session = await client.session("left");
    let id = "";
    for await (const event of session.stream(FOREVER)) {
      if (event.type === "accepted") id = event.id;
      if (event.type === "stdout") break;
    }
    expect((await client.execution(id)).status).toBe("running");
    await client.interrupt(id);
    expect((await client.wait(id)).status).toBe("interrupted");
  });

  test("a signal interrupts it, and the stream goes on to its end", async () => {
    const stop = new AbortController();
    const types: string[] = [];
    for await (const event of (await client.session("left")).stream(FOREVER, { signal: stop.signal })) {
      types.push(event.type);
      if (event.type === "stdout") stop.abort();
      if (event.type === "end") expect(event.record.status).toBe("interrupted");
    }
    expect(types.at(-1)).toBe("end");
  });
});

test("kill ends the kernel, and with it the variables", async () => {
  const session = await client.session("killed");
  const run = await session.execute(FOREVER, { timeoutMs: 300 });
  await client.kill(run.id);
  expect(await client.wait(run.id)).toMatchObject({ status: "interrupted" });
  expect((await session.execute("1")).generation).toBe(run.generation + 1);
});

test("output and artifacts, byte for byte", async () => {
  const png = Buffer.from("iVBORw0KGgo=", "base64");
  const run = await client.execute({
    session: "bytes",
    code: `import sys
sys.stdout.buffer.write(b"\\xff\\x00ok"); sys.stdout.flush()
class P:
    def _repr_png_(self): return bytes(${JSON.stringify([...png])})
P()`,
  });
  expect(await client.output(run.id, "stdout")).toEqual(Buffer.from([0xff, 0x00, 0x6f, 0x6b]));
  const image = run.artifacts.find((artifact) => artifact.mime === "image/png");
  expect(await client.artifact(run.id, image?.number ?? 0)).toEqual({ mime: "image/png", bytes: png });
  expect(await codeOf(client.artifact(run.id, 99))).toBe("unknown_artifact");
});

test("history", async () => {
  const session = await client.session("past");
  await session.execute("needle_in_code = 1");
  await session.execute("raise ValueError('needle_in_error')");
  const found = await client.history({ query: "needle_in", session: "past" });
  expect(found.executions.map((one) => one.status)).toEqual(["error", "ok"]);
  expect(found.next_cursor).toBeNull();
  const page = await client.history({ session: "past", limit: 1 });
  expect(page.executions).toHaveLength(1);
  const next = await client.history({ session: "past", limit: 1, cursor: page.next_cursor ?? "" });
  expect(next.executions[0]?.code).toBe("needle_in_code = 1");
  expect((await client.history({ session: "past", since: "2100-01-01T00:00:00Z" })).executions).toEqual([]);
  expect(await codeOf(client.execution("exec_01kb0000000000000000000000"))).toBe("unknown_execution");
});

test("sessions: create, list, show, reset, inspect, close", async () => {
  const info = await client.createSession({ name: "made", durability: "relaxed" });
  expect(info).toMatchObject({ name: "made", language: "python", durability: "relaxed" });
  expect(await codeOf(client.createSession({ name: "made" }))).toBe("session_exists");
  const session = await client.session("made");
  await session.execute("numbers = [1, 2, 3]");
  expect(await session.inspect()).toMatchObject({
    session: "made",
    variables: [{ name: "numbers", type: "list", length: 3 }],
  });
  expect(await session.inspect("numbers", 1)).toMatchObject({ name: "numbers", children: [{}, {}, {}] });
  expect(await codeOf(session.inspect("absent"))).toBe("unknown_variable");
  expect((await client.sessions()).map((one) => one.name)).toContain("made");
  const reset = await session.reset();
  expect(reset.id).toBe(info.id);
  expect((await session.inspect()).variables).toEqual([]);
  await session.close();
  expect(await codeOf(session.execute("1"))).toBe("session_closed");
  expect((await client.sessions()).map((one) => one.name)).not.toContain("made");
  expect((await client.sessions({ closed: true })).map((one) => one.name)).toContain("made");
  expect((await session.execute("1", { fresh: true })).status).toBe("ok");
});

test("health and doctor", async () => {
  expect(await client.health()).toMatchObject({
    home: at.home,
    isolation: expect.stringMatching(/^(sandbox|reduced|none)$/),
  });
  const checks = await client.doctor();
  expect(checks.length).toBeGreaterThan(0);
  for (const check of checks) expect(check.status === "ok" ? check.remedy : "").toBeDefined();
});
