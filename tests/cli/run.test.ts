import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TestHome, testHome } from "../support/home.ts";
import { execute, type Outcome, start } from "./program.ts";

let at: TestHome;
beforeAll(async () => {
  at = await testHome();
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});

const run = (...args: string[]) => execute(at.home, ["run", ...args]);
const json = (outcome: Outcome) => JSON.parse(outcome.stdout) as Record<string, unknown>;
const FOREVER = "import time\nprint('on', flush=True)\ntime.sleep(60)";

describe("run", () => {
  test("prints the output, and the result last; sessions keep their variables", async () => {
    expect(await run("-c", "x = 6 * 7\nprint('hi')\nx")).toEqual({
      status: 0,
      stdout: "hi\n42\n",
      stderr: "",
    });
    expect(await run("-c", "x + 1")).toEqual({ status: 0, stdout: "43\n", stderr: "" });
    expect((await run("-c", "x", "--session", "other")).status).toBe(1);
  });

  test("puts the result on a line of its own", async () => {
    expect((await run("-c", "print('no end', end='')\n5")).stdout).toBe("no end\n5\n");
  });

  test("keeps stdout and stderr apart, and prints text of any script", async () => {
    const code = "import sys; print('한국어 🙂'); print('err', file=sys.stderr)";
    expect(await run("-c", code)).toEqual({ status: 0, stdout: "한국어 🙂\n", stderr: "err\n" });
  });

  test("takes code from a file, from standard input, and with a byte order mark", async () => {
    const file = path.join(at.home, "script.py");
    writeFileSync(file, "\ufeffprint('from a file')");
    expect((await run(file)).stdout).toBe("from a file\n");
    expect((await execute(at.home, ["run", "-"], { input: "print('from stdin')" })).stdout).toBe(
      "from stdin\n",
    );
    expect((await execute(at.home, ["run"], { input: "1 + 1" })).stdout).toBe("2\n");
  });

  test("an exception: traceback on stderr, status 1, one record with --json", async () => {
    const plain = await run("-c", "print('before')\n1/0");
    expect(plain).toMatchObject({ status: 1, stdout: "before\n" });
    expect(plain.stderr).toMatch(/^Traceback .*ZeroDivisionError: division by zero\n$/s);
    const record = await run("-c", "1/0", "--json");
    expect(record).toMatchObject({ status: 1, stderr: "" });
    expect(json(record)).toMatchObject({
      status: "error",
      session: "main",
      language: "python",
      code: "1/0",
      result: null,
      // Python tells of columns from 3.11 on.
      error: {
        type: "ZeroDivisionError",
        message: "division by zero",
        line: 1,
        column: expect.toBeOneOf([1, null]),
      },
      cause: { kind: "client", client: "cli" },
      isolation: expect.stringMatching(/^(sandbox|reduced|none)$/),
    });
  });

  test("--json prints one document and nothing else", async () => {
    const outcome = await run("-c", "print('out')\n[1]", "--json");
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    expect(outcome.stdout.endsWith("\n")).toBe(true);
    expect(outcome.stdout.trimEnd()).not.toContain("\n");
    expect(json(outcome)).toMatchObject({
      status: "ok",
      stdout: "out\n",
      result: { text: "[1]", mime: { "text/plain": "[1]" } },
      truncated: { stdout_bytes: 0, stderr_bytes: 0 },
    });
  });

  test("--timeout interrupts: status 3, the session stays", async () => {
    await run("-c", "kept = 1", "--session", "t");
    expect((await run("-c", FOREVER, "--timeout", "300ms", "--session", "t")).status).toBe(3);
    const record = await run("-c", FOREVER, "--timeout", "0.3", "--session", "t", "--json");
    expect(record.status).toBe(3);
    expect(json(record)).toMatchObject({ status: "timed_out", stdout: "on\n", state: "retained" });
    expect((await run("-c", "kept", "--session", "t")).stdout).toBe("1\n");
  });

  test("code that ends its process: status 1, and the loss is told", async () => {
    const outcome = await run("-c", "import os; os._exit(3)", "--session", "dies");
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toContain("The session's variables are lost");
  });

  test("--fresh drops the variables", async () => {
    await run("-c", "x = 1", "--session", "f");
    expect((await run("-c", "x", "--session", "f", "--fresh")).status).toBe(1);
  });

  test.each([["SIGINT"], ["SIGTERM"]] as const)(
    "%s interrupts the code and waits for its record",
    async (signal) => {
      const running = start(at.home, ["run", "-c", FOREVER, "--session", `s${signal}`]);
      await running.printed("on");
      running.child.kill(signal);
      const outcome = await running.outcome;
      expect(outcome.status).toBe(3);
      expect(outcome.stderr).toContain("KeyboardInterrupt");
    },
  );

  test("Ctrl-C works with --json too", async () => {
    const running = start(at.home, ["run", "-c", FOREVER, "--session", "sj", "--json"]);
    await until(async () =>
      (await at.client.sessions()).some((one) => one.name === "sj" && one.running !== null),
    );
    running.child.kill("SIGINT");
    const outcome = await running.outcome;
    expect(outcome.status).toBe(3);
    expect(json(outcome)).toMatchObject({ status: "interrupted" });
  });

  test("a second Ctrl-C leaves at once", async () => {
    const code = `import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n${FOREVER}`;
    const running = start(at.home, ["run", "-c", code, "--session", "stubborn"]);
    await running.printed("on");
    running.child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = performance.now();
    running.child.kill("SIGINT");
    expect((await running.outcome).status).toBe(3);
    expect(performance.now() - before).toBeLessThan(1_000);
  });

  test("much output passes through whole, and warns of nothing", async () => {
    const outcome = await run("-c", "for i in range(200): print(str(i) * 20_000)");
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    expect(outcome.stdout).toBe(
      Array.from({ length: 200 }, (_, i) => `${String(i).repeat(20_000)}\n`).join(""),
    );
  });

  test("a reader that goes away ends the code quietly", async () => {
    const code = "while True: print('y' * 1000)";
    const shell = spawn(
      "sh",
      [
        "-c",
        '"$0" "$1" run -c "$2" --session pipe 2>"$3" | head -c 10',
        process.execPath,
        path.resolve("bin/execute-code.js"),
        code,
        path.join(at.home, "stderr"),
      ],
      { env: { ...process.env, EXECUTE_CODE_HOME: at.home }, stdio: ["ignore", "pipe", "inherit"] },
    );
    let stdout = "";
    shell.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    await new Promise((resolve) => shell.on("close", resolve));
    expect(stdout).toBe("yyyyyyyyyy");
    await until(async () => (await at.client.showSession("pipe")).running === null);
  });
});

describe("what is wrong with a call", () => {
  test.each([
    [["run", "no-such-file.py"], "there is no such file"],
    [["run", "."], "it is a folder"],
    [["run", "file.py", "-c", "1"], "not both"],
    [["run", "--timeout", "soon", "-c", "1"], "duration"],
    [["run", "--timeout", "0", "-c", "1"], "duration"],
    [["run", "--durability", "none", "-c", "1"], "full, relaxed"],
    [["run", "--no-such-option"], "unknown option"],
    [["no-such-command"], "unknown command"],
    [["run", "-c", ""], "no code"],
    [["run", "-c", "1", "--language", "cobol", "--session", "cobol"], "language"],
    [["run", "-c", "1", "--session", "a/b"], "session"],
    [["session", "show", "absent"], "no session"],
    [["history", "show", "exec_01kb0000000000000000000000"], "no execution"],
    [["inspect", "--session", "absent"], "no session"],
    [["inspect", "--depth", "9"], "0 to 4"],
    [["history", "--since", "yesterday"], "age"],
    [["history", "--limit", "501"], "a whole number from 1 to 500, or more with --tree"],
    [["history", "--limit", "0"], "a whole number from 1 to 500, or more with --tree"],
  ])("%j: status 2, said on stderr", async (args, said) => {
    const outcome = await execute(at.home, args);
    expect(outcome).toMatchObject({ status: 2, stdout: "" });
    expect(outcome.stderr.toLowerCase()).toContain(said);
    const asJson = await execute(at.home, [...args, "--json"]);
    expect(asJson.status).toBe(2);
    expect(json(asJson)).toEqual({
      error: expect.objectContaining({
        code: expect.any(String),
        message: expect.any(String),
        remedy: expect.any(String),
        retryable: false,
      }),
    });
  });

  test("bytes that are not UTF-8 are named", async () => {
    const outcome = await execute(at.home, ["run", "-", "--json"], {
      input: Buffer.from([0x61, 0x3d, 0xff]),
    });
    expect(outcome.status).toBe(2);
    expect(json(outcome)).toMatchObject({ error: { code: "invalid_encoding", details: { offset: 2 } } });
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error("it did not come about");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("input", () => {
  const ask = ["-c", "a = input('a? '); b = input('b? '); a + b", "--session", "asking"];

  test("is read from standard input, line by line", async () => {
    const outcome = await execute(at.home, ["run", ...ask], { input: "1\n2\n" });
    expect(outcome).toEqual({ status: 0, stdout: "a? b? \n'12'\n", stderr: "" });
    const record = await execute(at.home, ["run", ...ask, "--json"], { input: "1\n2\n" });
    expect(json(record)).toMatchObject({ status: "ok", result: { text: "'12'" } });
  });

  test("that ends too early is an EOFError", async () => {
    const outcome = await execute(at.home, ["run", ...ask], { input: "1\n" });
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(/EOFError: EOF when reading a line\n$/);
  });

  test("that nobody answers is an error which says so", async () => {
    const outcome = await run(...ask, "--input-timeout", "200ms");
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(/the code waits for input: execute-code execution input exec_\w+ TEXT\n/);
    expect(outcome.stderr).toMatch(/EOFError: input\(\) had nobody to answer it within 0\.2 s\./);
  });

  test("is answered by `execution input`; peek and wait show how it stands", async () => {
    const running = start(at.home, ["run", ...ask]);
    await running.printed("a? ");
    const page = await at.client.history({ session: "asking", status: "running" });
    const id = page.executions[0]!.id;
    const peeked = await execute(at.home, ["execution", "peek", id]);
    expect(peeked).toMatchObject({ status: 0, stdout: "a? " });
    expect(peeked.stderr).toContain(`execution input ${id} TEXT`);
    expect((await execute(at.home, ["execution", "wait", id, "--timeout", "100ms"])).status).toBe(3);
    expect((await execute(at.home, ["execution", "input", id, "x"])).status).toBe(0);
    await running.printed("b? ");
    expect((await execute(at.home, ["execution", "input", id, "y", "--json"])).status).toBe(0);
    expect(await running.outcome).toMatchObject({ status: 0, stdout: "a? b? \n'xy'\n" });
    const waited = await execute(at.home, ["execution", "wait", id]);
    expect(waited).toMatchObject({ status: 0, stdout: "a? b? \n'xy'\n" });
    const late = await execute(at.home, ["execution", "input", id, "z"]);
    expect(late.status).toBe(2);
    expect(late.stderr).toContain("no_input_requested");
    expect((await execute(at.home, ["execution", "input", id])).status).toBe(2);
  });

  test("`execution interrupt` and `kill` stop it", async () => {
    for (const [action, state] of [
      ["interrupt", "retained"],
      ["kill", "lost"],
    ] as const) {
      const running = start(at.home, ["run", "-c", FOREVER, "--session", action, "--json"]);
      let id = "";
      while (id === "") {
        const page = await at.client.history({ session: action, status: "running" });
        id = page.executions[0]?.id ?? "";
      }
      expect((await execute(at.home, ["execution", action, id])).status).toBe(0);
      const outcome = await running.outcome;
      expect(outcome.status).toBe(3);
      expect(json(outcome)).toMatchObject({ status: "interrupted", state });
    }
  });
});

describe("one execution alone", () => {
  test("has the environment variables that it is given", async () => {
    const outcome = await run(
      "-c",
      "import os; print(os.environ['A'], os.environ['B'])",
      "-e",
      "A=x=y",
      "--env",
      "B=",
    );
    expect(outcome.stdout).toBe("x=y \n");
    expect((await run("-c", "1", "-e", "nothing")).status).toBe(2);
  });

  test("may refuse to wait", async () => {
    const running = start(at.home, ["run", "-c", FOREVER, "--session", "held"]);
    await running.printed("on");
    const refused = await run("-c", "1", "--session", "held", "--on-busy", "refuse");
    expect(refused.status).toBe(4);
    expect(refused.stderr).toContain("session_busy");
    running.child.kill("SIGINT");
    expect((await running.outcome).status).toBe(3);
  });
});
