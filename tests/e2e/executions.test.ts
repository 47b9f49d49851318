/** Executions as a client sees them: results, output, time-outs, interrupts, crashes, queues. */
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import type { ExecutionEvent } from "../../src/contract/events.ts";
import { LIMITS } from "../../src/contract/limits.ts";
import { ExecutionRecord } from "../../src/contract/records.ts";
import { raw } from "../support/http.ts";
import { suiteHome } from "../support/suite.ts";

const home = await suiteHome();
const { client } = home;

let names = 0;
const newName = (): string => `t${++names}`;

async function collect(events: AsyncIterable<ExecutionEvent>): Promise<ExecutionEvent[]> {
  const all: ExecutionEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

describe("a record", () => {
  test("has every field of the contract, and is stored as it was answered", async () => {
    const session = newName();
    const record = await client.execute({
      session,
      code: "import sys, json\nx = [1, 2]\nprint('out')\nprint('err', file=sys.stderr)\nx",
    });
    expect(ExecutionRecord.parse(record)).toEqual(record);
    expect(record).toMatchObject({
      session,
      generation: 1,
      revision: 1,
      status: "ok",
      stdout: "out\n",
      stderr: "err\n",
      result: { text: "[1, 2]", mime: { "text/plain": "[1, 2]" } },
      error: null,
      state: "retained",
      isolation: expect.stringMatching(/^(sandbox|reduced|none)$/),
      cause: { kind: "client", client: "sdk" },
      features: { imports: ["json", "sys"] },
    });
    expect(record.variables.added).toContainEqual({ name: "x", type: "list", preview: "[1, 2]" });
    expect(record.peak_memory_bytes).toBeGreaterThan(1_000_000);
    expect(await client.execution(record.id)).toEqual(record);
  });

  test("of a failing cell names the place, and keeps what was bound before", async () => {
    const session = newName();
    const record = await client.execute({ session, code: "a = 1\nb = a / 0" });
    expect(record).toMatchObject({ status: "error", error: { type: "ZeroDivisionError", line: 2 } });
    expect(record.error?.traceback).toContain("b = a / 0");
    expect(record.features.error_fingerprint).toMatch(/^[0-9a-f]{16}$/);
    expect((await client.execute({ session, code: "a" })).result?.text).toBe("1");
  });

  test("tells variables added, changed (also in place) and deleted", async () => {
    const session = newName();
    await client.execute({ session, code: "a = [1]; b = 2; c = {}" });
    const { variables } = await client.execute({ session, code: "a.append(2); del b; c['k'] = 1; d = 4" });
    expect(variables.added.map((variable) => variable.name)).toEqual(["d"]);
    expect(variables.changed.map((variable) => variable.name).sort()).toEqual(["a", "c"]);
    expect(variables.deleted).toEqual(["b"]);
  });
});

describe("output", () => {
  test("50 MB in one cell: nothing lost, the answer bounded", { timeout: 60_000 }, async () => {
    const record = await client.execute({
      session: newName(),
      code: "for _ in range(50): print('x' * 1_048_575)",
    });
    expect(record.stdout.length).toBeLessThan(LIMITS.inlineHeadBytes + LIMITS.inlineTailBytes + 100);
    expect(record.truncated.stdout_bytes).toBeGreaterThan(50 * 1024 * 1024 - 2 * LIMITS.inlineHeadBytes);
    expect(record.artifacts).toMatchObject([{ source: "stdout", bytes: 50 * 1024 * 1024 }]);
    expect((await client.output(record.id, "stdout")).length).toBe(50 * 1024 * 1024);
  });

  test("bytes that are no UTF-8 are kept as they are", async () => {
    const record = await client.execute({
      session: newName(),
      code: "import sys; _ = sys.stdout.buffer.write(b'a\\xff\\xfeb\\n')",
    });
    expect(record.stdout).toBe("a\ufffd\ufffdb\n");
    expect([...(await client.output(record.id, "stdout"))]).toEqual([0x61, 0xff, 0xfe, 0x62, 0x0a]);
  });

  test("of child processes belongs to the execution", async () => {
    const record = await client.execute({
      session: newName(),
      code: "import os; os.system('echo from-child')",
    });
    expect(record.stdout).toBe("from-child\n");
  });

  test("that comes after the end is late output of its execution", async () => {
    const session = newName();
    const first = await client.execute({
      session,
      code: "import threading\ngo = threading.Event()\nt = threading.Thread(target=lambda: (go.wait(), print('late')))\nt.start()",
    });
    // The thread prints while nothing runs: a timer in the kernel releases it after this cell has ended.
    await client.execute({ session, code: "threading.Timer(0.2, go.set).start()" });
    const { promise, resolve } = Promise.withResolvers<void>();
    setTimeout(resolve, 600);
    await promise;
    const next = await client.execute({ session, code: "t.join()" });
    expect(next.stdout).toBe("");
    expect(next.late).toMatchObject([{ stream: "stdout", text: "late\n" }]);
    expect(next.late[0]?.execution).toBe(first.id);
  });

  test("is followed from any offset, alike while it runs and when it is stored", async () => {
    const session = await client.session(newName());
    const live = await collect(
      session.stream(
        "import sys, time\nfor i in range(5):\n    print(i, flush=True)\n    print('가', file=sys.stderr, flush=True)\n    time.sleep(0.01)\nec.display(1)",
      ),
    );
    const { id } = live[0] as { id: string };
    const stored = await collect(client.follow(id, 0));
    const text = (events: ExecutionEvent[], type: string): string =>
      events.map((event) => (event.type === type && "text" in event ? event.text : "")).join("");
    for (const type of ["stdout", "stderr"]) expect(text(stored, type)).toBe(text(live, type));
    expect(stored.at(-1)).toEqual(live.at(-1));
    for (const event of live.slice(0, -1)) {
      const rest = await collect(client.follow(id, event.offset));
      const after = live.slice(live.indexOf(event) + 1);
      for (const type of ["stdout", "stderr"]) expect(text(rest, type)).toBe(text(after, type));
    }
  });

  test("images become artifacts with their type", async () => {
    const png =
      "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    const record = await client.execute({
      session: newName(),
      code: `import base64\nclass P:\n    def _repr_png_(self): return base64.b64decode("${png}")\nec.display(P())\nP()`,
    });
    expect(record.artifacts.map(({ source, mime, display }) => ({ source, mime, display }))).toEqual([
      { source: "display", mime: "image/png", display: 0 },
      { source: "result", mime: "image/png", display: null },
    ]);
    const answer = await raw(home.home, "GET", `/v1/executions/${record.id}/artifacts/1`);
    expect(answer.headers["content-type"]).toBe("image/png");
    expect(Buffer.from((await client.artifact(record.id, 2)).bytes).toString("base64")).toBe(png);
  });
});

describe("control", () => {
  test("on time-out the caller gets the id and the output so far, and it runs on", async () => {
    const session = newName();
    await client.execute({ session, code: "0" });
    const record = await client.execute({
      session,
      code: "import time\nprint('begun', flush=True)\ntime.sleep(0.6)\n'end'",
      timeoutMs: 250,
    });
    expect(record).toMatchObject({ status: "running", stdout: "begun\n" });
    const ended = await client.wait(record.id, 10_000);
    expect(ended).toMatchObject({ status: "ok", result: { text: "'end'" } });
  });

  test("on time-out with interrupt it ends as timed_out, and the variables stay", async () => {
    const session = newName();
    await client.execute({ session, code: "kept = 1" });
    const record = await client.execute({
      session,
      code: "while True: pass",
      timeoutMs: 200,
      onTimeout: "interrupt",
    });
    expect(record).toMatchObject({ status: "timed_out", state: "retained" });
    expect((await client.execute({ session, code: "kept" })).result?.text).toBe("1");
  });

  test("code that ignores interrupts is killed, with everything it started, and the loss is told", {
    timeout: 60_000,
  }, async () => {
    const session = newName();
    const started = await client.execute({
      session,
      code: `import subprocess\nchild = subprocess.Popen(['sleep', '30${process.pid}'], start_new_session=True)\nimport signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass`,
      timeoutMs: 300,
    });
    const killed = await client.interrupt(started.id);
    expect(killed).toMatchObject({ status: "interrupted", state: "lost", error: { type: "KernelDied" } });
    const running = execFileSync("ps", ["-eo", "args"], { encoding: "utf8" });
    expect(running).not.toContain(`sleep 30${process.pid}`);
    const next = await client.execute({ session, code: "'child' in globals()" });
    expect(next).toMatchObject({ state: "lost", generation: 2, result: { text: "False" } });
  });

  test.each([
    ["import os; os._exit(3)", "exit status 3"],
    ["import ctypes; ctypes.string_at(0)", "SIGSEGV"],
    ["import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"],
  ])("a crash says its exact cause: %s", async (code, cause) => {
    const record = await client.execute({ session: newName(), code: `print('before', flush=True)\n${code}` });
    expect(record).toMatchObject({ status: "crashed", state: "lost", stdout: "before\n" });
    expect(record.error?.message).toContain(cause);
  });

  test("a session runs in the order of acceptance, and what waits can be withdrawn", async () => {
    const session = newName();
    const first = await client.execute({
      session,
      code: "import time; time.sleep(0.5); order = ['a']",
      timeoutMs: 0,
    });
    const second = client.execute({ session, code: "order.append('b')" });
    const third = await client.execute({ session, code: "order.append('c')", timeoutMs: 0 });
    expect(await client.interrupt(third.id)).toMatchObject({ status: "interrupted", revision: 0 });
    expect((await second).status).toBe("ok");
    expect((await client.wait(first.id, 1_000)).status).toBe("ok");
    expect((await client.execute({ session, code: "order" })).result?.text).toBe("['a', 'b']");
  });

  test("kill ends the kernel at once", async () => {
    const session = newName();
    const started = await client.execute({ session, code: "while True: pass", timeoutMs: 100 });
    expect(await client.kill(started.id)).toMatchObject({ status: "interrupted", state: "lost" });
  });

  test("a kernel that dies between executions is noticed, and told", async () => {
    const session = newName();
    await client.execute({ session, code: "x = 1" });
    const { pid } = await (await client.session(session)).show();
    process.kill(pid!, "SIGKILL");
    while ((await (await client.session(session)).show()).state !== "crashed") {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const next = await client.execute({ session, code: "'x' in globals()" });
    expect(next).toMatchObject({ state: "restored", generation: 2, result: { text: "True" } });
    expect(await client.execute({ session, code: "x" })).toMatchObject({ state: "retained", generation: 2 });
  });

  test("reset gives a new kernel on request: nothing is called lost", async () => {
    const session = await client.session(newName());
    await session.execute("x = 1");
    await session.reset();
    expect(await session.execute("'x' in globals()")).toMatchObject({
      state: "retained",
      generation: 2,
      result: { text: "False" },
    });
  });
});

describe("code in a session", () => {
  test("asks for its own session's history, and for no other's", async () => {
    const mine = newName();
    await client.execute({ session: newName(), code: "secret_of_another = 1" });
    const own = await client.execute({ session: mine, code: "something_of_mine = 1" });
    const asked = await client.execute({
      session: mine,
      code: "[h['id'] for h in ec.history('something_of')]",
    });
    expect(asked.result?.text).toContain(own.id);
    const other = await client.execute({
      session: mine,
      code: "ec.history('secret_of_another', limit=5)[1:]",
    });
    expect(other.result?.text).toBe("[]");
  });

  test("does not see the daemon's environment or its descriptors", async () => {
    const record = await client.execute({
      session: newName(),
      code: "import os\nsorted(os.environ), sorted(os.listdir('/proc/self/fd'), key=int)[:3]",
    });
    expect(record.result?.text).not.toContain("EXECUTE_CODE");
    const open = await client.execute({
      session: newName(),
      code: "import os\n[os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')]",
    });
    expect(open.result?.text).not.toContain("history.db");
    expect(open.result?.text).not.toContain("daemon.log");
  });
});
