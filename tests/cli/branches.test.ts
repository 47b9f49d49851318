/** `session fork|snapshot|snapshots|rollback` and `run --on-error`, as a user calls them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TestHome, testHome } from "../support/home.ts";
import { execute, type Outcome } from "./program.ts";

let at: TestHome;
beforeAll(async () => {
  at = await testHome();
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});

const call = (...args: string[]): Promise<Outcome> => execute(at.home, args);
const json = (outcome: Outcome) => JSON.parse(outcome.stdout) as Record<string, unknown>;
const value = async (session: string, expression: string): Promise<string | undefined> =>
  (await at.client.execute({ session, code: expression })).result?.text;

describe("session fork", () => {
  test("makes sessions, and tells which", async () => {
    const { id } = await at.client.execute({ session: "analysis", code: "x = 1" });
    const forked = await call("session", "fork", "analysis", "what-if", "other");
    expect(forked).toMatchObject({ status: 0, stderr: "" });
    expect(forked.stdout).toMatch(
      /^NAME +STATE +REVISION +FORKED FROM\nwhat-if +idle +1 +analysis rev 1\nother /,
    );
    expect(await value("what-if", "x")).toBe("1");
    const numbered = await call("session", "fork", "analysis", "-n", "2", "--json");
    expect(json(numbered)).toMatchObject({
      sessions: [
        { name: "analysis.1", forked_from: { session: "analysis", revision: 1, execution: id } },
        { name: "analysis.2" },
      ],
      unsafe: [],
    });
  });

  test("from a snapshot", async () => {
    await at.client.execute({ session: "from", code: "x = 1" });
    await call("session", "snapshot", "from", "before");
    await at.client.execute({ session: "from", code: "x = 2" });
    expect(await call("session", "fork", "from", "retry", "--from", "before")).toMatchObject({ status: 0 });
    expect(await value("retry", "x")).toBe("1");
  });

  test("says what is wrong, and what to do", async () => {
    await at.client.execute({
      session: "unsafe",
      code: "import subprocess; job = subprocess.Popen(['sleep', '600'])",
    });
    const refused = await call("session", "fork", "unsafe");
    expect(refused).toMatchObject({ status: 2, stdout: "" });
    expect(refused.stderr).toMatch(/`job`[\s\S]*--on-unsafe warn/);
    const warned = await call("session", "fork", "unsafe", "--on-unsafe", "warn");
    expect(warned.status).toBe(0);
    expect(warned.stderr).toMatch(/The copy lacks the child process \d+ \(job\)\./);
    expect(json(await call("session", "fork", "unsafe", "--json"))).toMatchObject({
      error: { code: "unsafe_fork", remedy: expect.any(String) },
    });
    for (const [args, status, said] of [
      [["nobody"], 2, "no session"],
      [["unsafe", "unsafe", "--on-unsafe", "warn"], 2, "exists"],
      [["unsafe", "--from", "nothing"], 2, "session snapshots"],
      [["unsafe", "-n", "0"], 2, "0"],
      [["unsafe", "-n", "201"], 2, "201"],
      [["unsafe", "--on-unsafe", "ignore"], 2, "refuse, warn"],
      [[], 2, "name"],
    ] as const) {
      const outcome = await call("session", "fork", ...args);
      expect(outcome, args.join(" ")).toMatchObject({ status, stdout: "" });
      expect(outcome.stderr).toContain(said);
    }
  });
});

describe("session snapshot and snapshots", () => {
  test("keep the memory under a name, list it and give it up", async () => {
    await at.client.createSession({ name: "kept", snapshots: "named" });
    expect(await call("session", "snapshots", "kept")).toMatchObject({
      status: 0,
      stdout: "",
      stderr: "The session has no live snapshots.\n",
    });
    expect(json(await call("session", "snapshots", "kept", "--json"))).toEqual({ snapshots: [] });
    const { id } = await at.client.execute({ session: "kept", code: "x = 1" });
    const taken = await call("session", "snapshot", "kept", "first one");
    expect(taken).toMatchObject({ status: 0, stderr: "" });
    expect(taken.stdout).toMatch(
      new RegExp(`^id +snap_\\w{26}$[\\s\\S]*^name +first one$[\\s\\S]*^after +${id}$`, "m"),
    );
    const nameless = json(await call("session", "snapshot", "kept", "--json"));
    expect(nameless).toMatchObject({ name: null, session: "kept", execution: id, unsafe: [] });
    const listed = await call("session", "snapshots", "kept");
    expect(listed.stdout).toMatch(/^ID +NAME +AFTER +REVISION +CREATED +MEMORY\n/);
    expect(listed.stdout).toMatch(/^snap_\w{26} +first one +exec_/m);
    expect(await call("session", "snapshot", "kept", "first one")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("Choose another name"),
    });
    expect(await call("session", "snapshot", "kept", "a/b")).toMatchObject({ status: 2, stdout: "" });
    expect(json(await call("session", "snapshot", "kept", "--drop", "first one", "--json"))).toMatchObject({
      name: "first one",
    });
    expect(json(await call("session", "snapshots", "kept", "--json"))).toEqual({
      snapshots: [expect.anything()],
    });
    expect(await call("session", "snapshot", "kept", "--drop", "first one")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("session snapshots NAME"),
    });
  });
});

describe("session rollback", () => {
  test("goes back, and tells what was undone and what was not", async () => {
    const first = await at.client.execute({ session: "back", code: "x = 1" });
    await expect.poll(async () => (await at.client.snapshots("back")).length).toBe(1);
    await expect.poll(() => Date.now() > Date.parse(first.started_at) + 50).toBe(true);
    const second = await at.client.execute({ session: "back", code: "x = 2; open('made', 'w').close()" });
    const done = await call("session", "rollback", "back");
    expect(done.status).toBe(0);
    expect(done.stdout).toMatch(new RegExp(`^session +back$[\\s\\S]*^memory as after +${first.id}$`, "m"));
    expect(done.stdout).toMatch(/^generation +2$/m);
    expect(done.stdout).toMatch(new RegExp(`^undone +${second.id}$`, "m"));
    expect(done.stderr).toContain("Files that changed since, and stay as they are:\n");
    expect(done.stderr).toContain("  made\n");
    expect(await value("back", "x")).toBe("1");
    expect(json(await call("session", "rollback", "back", second.id, "--json"))).toMatchObject({
      to: second.id,
      session: { name: "back", generation: 3 },
      abandoned: [expect.stringMatching(/^exec_/)],
    });
    expect(await value("back", "x")).toBe("2");
  });

  test("says what is wrong, and what to do", async () => {
    await at.client.execute({ session: "stuck", code: "x = 1" });
    for (const args of [["stuck"], ["stuck", "nothing"]]) {
      const outcome = await call("session", "rollback", ...args);
      expect(outcome).toMatchObject({ status: 2, stdout: "" });
      expect(outcome.stderr).toContain("session snapshots NAME");
    }
    expect(await call("session", "rollback", "nobody")).toMatchObject({ status: 2 });
    expect(json(await call("session", "rollback", "stuck", "--json"))).toMatchObject({
      error: { code: "unknown_snapshot" },
    });
  });
});

describe("run --on-error rollback", () => {
  test("leaves the memory as it was when the code fails", async () => {
    const run = (code: string, ...more: string[]) => call("run", "--session", "sure", "-c", code, ...more);
    expect((await run("x = [1]")).status).toBe(0);
    const failed = await run("x.append(2); 1 / 0", "--on-error", "rollback", "--json");
    expect(failed.status).toBe(1);
    expect(json(failed)).toMatchObject({
      status: "error",
      state: "restored",
      rolled_back: { truncated: false },
    });
    expect((await run("x")).stdout).toBe("[1]\n");
    await run("import subprocess; job = subprocess.Popen(['sleep', '60'])");
    expect((await run("1 / 0", "--on-error", "rollback")).stderr).toMatch(
      /What was left had the child process \d+ \(job\), which is gone\./,
    );
    expect((await run("x.append(2); 1 / 0")).status).toBe(1);
    expect((await run("x")).stdout).toBe("[1, 2]\n");
    const ended = await run("x.append(3); import os; os._exit(1)", "--on-error", "rollback", "--json");
    expect(ended.status).toBe(1);
    expect(json(ended)).toMatchObject({ status: "crashed", state: "restored" });
    expect((await run("x")).stdout).toBe("[1, 2]\n");
    const endless = "x.append(4)\nwhile True: pass";
    const late = await run(endless, "--on-error", "rollback", "--timeout", "300ms", "--json");
    expect(late.status).toBe(3);
    expect(json(late)).toMatchObject({ status: "timed_out", state: "restored" });
    expect((await run("x")).stdout).toBe("[1, 2]\n");
    expect(await run("1", "--on-error", "nothing")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("keep, rollback"),
    });
  });
});
