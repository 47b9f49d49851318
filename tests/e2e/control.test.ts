/** What a client can do about an execution while it runs, and about what it left behind. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { ExecutionEvent } from "../../src/contract/events.ts";
import { LIMITS } from "../../src/contract/limits.ts";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import { suiteHome } from "../support/suite.ts";

const { client } = await suiteHome();

let names = 0;
const newName = (): string => `c${++names}`;

/** Looks again until the record is as wanted. */
async function untilRecord(
  id: string,
  wanted: (record: ExecutionRecord) => boolean,
): Promise<ExecutionRecord> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const record = await client.execution(id);
    if (wanted(record)) return record;
    if (performance.now() > deadline) throw new Error(`the record stayed ${JSON.stringify(record)}`);
  }
}

describe("input", () => {
  test("is an event, and is answered by id", async () => {
    const seen: ExecutionEvent[] = [];
    const code = "name = input('name? ')\nprint('hello', name)";
    for await (const event of client.stream({ session: newName(), code })) {
      seen.push(event);
      if (event.type !== "input") continue;
      expect(event).toMatchObject({ prompt: "name? ", password: false });
      const id = (seen[0] as { id: string }).id;
      expect((await client.execution(id)).input_requested).toEqual({ prompt: "name? ", password: false });
      const sofar = await client.input(id, "Ada");
      expect(sofar).toMatchObject({ status: "running", input_requested: null });
    }
    const record = (seen.at(-1) as { record: ExecutionRecord }).record;
    expect(record).toMatchObject({
      status: "ok",
      stdout: "name? hello Ada\n",
      inputs: [{ prompt: "name? ", password: false, answer: "Ada" }],
      input_requested: null,
    });
    expect(await client.execution(record.id)).toEqual(record);
    const stored: ExecutionEvent[] = [];
    for await (const event of client.follow(record.id)) stored.push(event);
    expect(stored).toEqual(seen);
  });

  test("can end the caller's wait, and each question again", async () => {
    const code = "a = input('a'); b = input('b'); a + b";
    const first = await client.execute({ session: newName(), code, onInput: "detach" });
    expect(first).toMatchObject({ status: "running", input_requested: { prompt: "a" } });
    await client.input(first.id, "1");
    const second = await client.wait(first.id, 10_000, { until: "input" });
    expect(second.input_requested).toMatchObject({ prompt: "b" });
    await client.input(first.id, "2");
    expect((await client.wait(first.id)).result?.text).toBe("'12'");
  });

  test("that nobody answers is a clear error, and the next request is untouched", async () => {
    const session = newName();
    const record = await client.execute({ session, code: "input('x')", inputTimeoutMs: 100 });
    expect(record).toMatchObject({
      status: "error",
      error: { type: "EOFError", message: expect.stringContaining("nobody to answer it within 0.1 s") },
      inputs: [{ prompt: "x", answer: null }],
    });
    const refused = await client.execute({ session, code: "input('x')", onInput: "refuse" });
    expect(refused.error).toMatchObject({ type: "EOFError", message: expect.stringContaining("refused") });
    expect((await client.execute({ session, code: "'next'" })).result?.text).toBe("'next'");
  });

  test("ends with null; a secret is not kept", async () => {
    const session = newName();
    const ended = await client.execute({ session, code: "input()", onInput: "detach" });
    await client.input(ended.id, null);
    expect((await client.wait(ended.id)).error).toMatchObject({
      type: "EOFError",
      message: "EOF when reading a line",
    });
    const code = "import getpass; len(getpass.getpass())";
    const secret = await client.execute({ session, code, onInput: "detach" });
    expect(secret.input_requested?.password).toBe(true);
    await client.input(secret.id, "s3cret");
    const record = await client.wait(secret.id);
    expect(record).toMatchObject({ result: { text: "6" }, inputs: [{ password: true, answer: null }] });
  });

  test("that is not asked for is refused", async () => {
    const ended = await client.execute({ session: newName(), code: "1" });
    await expect(client.input(ended.id, "x")).rejects.toMatchObject({ code: "no_input_requested" });
    const session = newName();
    const busy = await client.execute({ session, code: "import time; time.sleep(30)", timeoutMs: 200 });
    await expect(client.input(busy.id, "x")).rejects.toMatchObject({ code: "no_input_requested" });
    await client.interrupt(busy.id);
  });

  test("is interrupted like anything else", async () => {
    const session = newName();
    const record = await client.execute({
      session,
      code: "input()",
      timeoutMs: 200,
      onTimeout: "interrupt",
      onInput: "detach",
    });
    expect(record.status).toBe("running");
    // The caller has left; its time-out holds all the same.
    expect((await client.wait(record.id)).status).toBe("timed_out");
    expect((await client.execute({ session, code: "2" })).result?.text).toBe("2");
  });
});

describe("late output", () => {
  test("is part of its execution's record, and told with the session's next one", async () => {
    const session = newName();
    const first = await client.execute({
      session,
      code: "import threading, sys\ngo = threading.Event()\ndef work():\n    go.wait(); print('late é'); print('wrong', file=sys.stderr)\nt = threading.Thread(target=work); t.start()\nprint('now')",
    });
    expect(first).toMatchObject({ stdout: "now\n", late: [] });
    const second = await client.execute({ session, code: "go.set(); t.join(); print('mine')" });
    expect(second).toMatchObject({ stdout: "mine\n", stderr: "" });
    const own = await untilRecord(first.id, (record) => record.late.length === 2);
    expect(own.late).toEqual([
      { execution: first.id, stream: "stdout", text: "late é\n" },
      { execution: first.id, stream: "stderr", text: "wrong\n" },
    ]);
    expect(own.stdout).toBe("now\n");
    const third = await client.execute({ session, code: "1" });
    const told = [...second.late, ...third.late];
    expect(told.map((late) => [late.execution, late.stream])).toEqual([
      [first.id, "stdout"],
      [first.id, "stderr"],
    ]);
  });

  test("of a process that outlives its cell is its own, whatever runs meanwhile", async () => {
    const session = newName();
    const first = await client.execute({
      session,
      code: "import subprocess; p = subprocess.Popen('for i in 1 2 3; do sleep 0.1; echo tick $i; done', shell=True)",
    });
    const second = await client.execute({
      session,
      code: "import time\nfor n in range(5): time.sleep(0.1); print('tock', n)",
    });
    expect(second.stdout).toBe("tock 0\ntock 1\ntock 2\ntock 3\ntock 4\n");
    expect((await untilRecord(first.id, (record) => record.late.length > 0)).late[0]?.text).toMatch(
      /^tick 1\n/,
    );
    await untilRecord(first.id, (record) => record.late[0]?.text === "tick 1\ntick 2\ntick 3\n");
  });

  test("is kept when there is no next execution, and is bounded", async () => {
    const session = newName();
    const size = LIMITS.lateBytes;
    const first = await client.execute({
      session,
      code: `import asyncio\nasync def flood():\n    await asyncio.sleep(0.01)\n    print('x' * ${size * 2}, flush=True)\ntask = asyncio.ensure_future(flood()); await asyncio.sleep(0)`,
    });
    const record = await untilRecord(first.id, ({ late }) => late.at(0)?.text.endsWith("…\n") === true);
    expect(record.late[0]?.text.length).toBeLessThan(size + 100);
    await client.closeSession(session);
    expect((await client.execution(first.id)).late).toEqual(record.late);
  });
});

describe("time-outs and interrupts", () => {
  test("a time-out ends what the code started, wherever it has put it", async () => {
    const session = newName();
    const mark = `60${process.pid}`;
    const earlier = await client.execute({
      session,
      code: "import os, subprocess, time\nearlier = subprocess.Popen(['sleep', '600']); time.sleep(0.05)",
    });
    expect(earlier.status).toBe("ok");
    const record = await client.execute({
      session,
      code: `os.system('nohup sleep ${mark}1 >/dev/null 2>&1 &'); os.system('setsid sleep ${mark}2 &')\nsubprocess.Popen(['sleep', '${mark}3'], start_new_session=True)\ntime.sleep(600)`,
      timeoutMs: 500,
      onTimeout: "interrupt",
    });
    expect(record).toMatchObject({ status: "timed_out", state: "retained" });
    const check = `[p for p in os.listdir('/proc') if p.isdigit() and b'${mark}' in (open('/proc/' + p + '/cmdline', 'rb').read() if os.path.exists('/proc/' + p + '/cmdline') else b'')], earlier.poll()`;
    expect((await client.execute({ session, code: check })).result?.text).toBe("([], None)");
  });

  test("code in a C call that waits for a process is interrupted", async () => {
    const record = await client.execute({
      session: newName(),
      code: "import os, time; os.system('sleep 600'); time.sleep(600)",
      timeoutMs: 300,
      onTimeout: "interrupt",
    });
    expect(record).toMatchObject({ status: "timed_out", state: "retained" });
    expect(record.duration_ms).toBeLessThan(1_800);
  });

  test("an interrupt of one execution never hits the next", async () => {
    const session = newName();
    for (let round = 0; round < 20; round++) {
      const first = client.execute({ session, code: "1" });
      const second = client.execute({ session, code: "import time; time.sleep(0.02); 'whole'" });
      const { id } = await first;
      await client.interrupt(id);
      expect((await second).result?.text).toBe("'whole'");
    }
  });

  test("an inspection that hangs is stopped, and the session lives", async () => {
    const session = newName();
    await client.execute({
      session,
      code: "import sys, types, threading\nfake = types.ModuleType('numpy')\nclass ndarray:\n    @property\n    def shape(self):\n        while trapped: pass\n        return ()\nndarray.__module__ = 'numpy'; fake.ndarray = ndarray; sys.modules['numpy'] = fake\ntrapped, kept = [], [ndarray()]\nthreading.Timer(0.05, lambda: trapped.append(1)).start()",
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const handle = await client.session(session);
    await expect(handle.inspect("kept", 2)).rejects.toMatchObject({
      code: "inspection_failed",
      message: expect.stringContaining("too long"),
    });
    expect((await client.execute({ session, code: "trapped.clear(); 'alive'" })).result?.text).toBe(
      "'alive'",
    );
  }, 20_000);
});

describe("a busy session", () => {
  test("refuses when the request or the session says so", async () => {
    const session = newName();
    const created = await client.createSession({ name: session, onBusy: "refuse" });
    expect(created.on_busy).toBe("refuse");
    const long = await client.execute({ session, code: "import time; time.sleep(600)", timeoutMs: 100 });
    const refused = client.execute({ session, code: "1" });
    await expect(refused).rejects.toMatchObject({ code: "session_busy", details: { running: long.id } });
    const waits = client.execute({ session, code: "'after'", onBusy: "wait" });
    await expect(client.execute({ session, code: "1", onBusy: "refuse" })).rejects.toMatchObject({
      code: "session_busy",
    });
    await client.interrupt(long.id);
    expect((await waits).result?.text).toBe("'after'");
    expect((await client.showSession(session)).on_busy).toBe("refuse");
  });

  test("answers a repeated request though it is busy with it", async () => {
    const session = newName();
    const request = {
      session,
      code: "import time; time.sleep(0.3); 'once'",
      idempotencyKey: `busy-${session}`,
      onBusy: "refuse" as const,
    };
    const [first, second] = await Promise.all([client.execute(request), client.execute(request)]);
    expect(second.id).toBe(first.id);
  });

  test("drops what waits behind a failure, when asked to", async () => {
    const session = newName();
    const failing = client.execute({
      session,
      code: "import time; time.sleep(0.5); 1/0",
      stopOnError: true,
    });
    // Requests that are sent at once may arrive in any order.
    await expect
      .poll(async () => (await client.showSession(session).catch(() => null))?.running)
      .toMatch(/^exec_/);
    const behind = [1, 2].map((n) => client.execute({ session, code: `x = ${n}` }));
    expect((await failing).status).toBe("error");
    for (const record of await Promise.all(behind)) {
      expect(record).toMatchObject({ status: "interrupted", revision: 0 });
      expect(record.error?.message).toContain((await failing).id);
    }
    const kept = client.execute({ session, code: "import time; time.sleep(0.2); 1/0" });
    const runs = client.execute({ session, code: "'ran'" });
    expect((await kept).status).toBe("error");
    expect((await runs).result?.text).toBe("'ran'");
  });
});

describe("of one execution alone", () => {
  test("environment variables hold, whatever they contain", async () => {
    const session = newName();
    const value = 'it\'s "quoted"\nover lines $HOME `x` é';
    const code = "import os; print(os.environ['V'], end='')";
    const record = await client.execute({ session, code, env: { V: value } });
    expect(record.stdout).toBe(value);
    expect((await client.execute({ session, code: "os.environ.get('V')" })).result).toBeNull();
    expect(JSON.stringify(await client.execution(record.id))).not.toContain('"env"');
    await expect(client.execute({ session, code: "1", env: { "A=B": "x" } })).rejects.toMatchObject({
      code: "invalid_request",
    });
  });
});

describe("closing", () => {
  test("runs exit functions, for a bounded time", async () => {
    const session = newName();
    await client.execute({
      session,
      code: "import atexit; atexit.register(lambda: open('left', 'w').write('bye'))",
    });
    const { workspace } = await client.closeSession(session);
    expect(readFileSync(`${workspace}/left`, "utf8")).toBe("bye");
    const stubborn = newName();
    await client.execute({
      session: stubborn,
      code: "import atexit, time; atexit.register(time.sleep, 600)",
    });
    const began = performance.now();
    await client.closeSession(stubborn);
    expect(performance.now() - began).toBeLessThan(5_000);
  });
});
