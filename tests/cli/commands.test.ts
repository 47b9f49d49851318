import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TestHome, temporaryFolder, testHome } from "../support/home.ts";
import { execute, type Outcome, start } from "./program.ts";

let at: TestHome;
beforeAll(async () => {
  at = await testHome();
  await at.client.execute({ code: "numbers = [1, 2, 3]\nnumbers", session: "demo" });
  await at.client.execute({ code: "raise ValueError('한국어')", session: "demo" });
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});

const call = (...args: string[]) => execute(at.home, args);
const json = (outcome: Outcome) => JSON.parse(outcome.stdout) as Record<string, unknown>;

test("session list, create, show, reset, close", async () => {
  const created = await call("session", "create", "made", "--json");
  expect(created).toMatchObject({ status: 0, stderr: "" });
  expect(json(created)).toMatchObject({ name: "made", language: "python", durability: "full" });
  const list = await call("session", "list");
  expect(list.stdout.split("\n")[0]).toMatch(/^NAME +STATE +LANGUAGE/);
  expect(list.stdout).toMatch(/^made /m);
  expect(json(await call("session", "list", "--json"))).toMatchObject({
    sessions: [{ name: "made" }, { name: "demo" }],
  });
  expect((await call("session", "show", "made")).stdout).toMatch(/^name +made$/m);
  expect(json(await call("session", "reset", "made", "--json"))).toMatchObject({ name: "made" });
  expect(json(await call("session", "close", "made", "--json"))).toMatchObject({
    name: "made",
    state: "closed",
  });
  expect(json(await call("run", "-c", "1", "--session", "made", "--json"))).toMatchObject({
    error: { code: "session_closed" },
  });
  expect((await call("session", "list", "--closed")).stdout).toMatch(/^made +closed/m);
});

describe("session files, upload and download", () => {
  let here: string;
  beforeAll(() => {
    here = temporaryFolder();
    writeFileSync(path.join(here, "한.csv"), "a,b\n");
  });
  afterAll(() => rmSync(here, { recursive: true, force: true }));
  const local = (name: string) => path.join(here, name);

  test("bring files there and back", async () => {
    expect((await call("session", "files", "demo")).stderr).toContain("There are no files.");
    expect(json(await call("session", "upload", "demo", local("한.csv"), "data/", "--json"))).toMatchObject({
      path: "data/한.csv",
      type: "file",
      bytes: 4,
    });
    const piped = await execute(at.home, ["session", "upload", "demo", "-", "piped"], {
      input: "from a pipe",
    });
    expect(piped).toMatchObject({ status: 0, stdout: "", stderr: "piped: 11 bytes\n" });
    const listed = await call("session", "files", "demo");
    expect(listed.stdout).toMatch(/^TYPE +BYTES +MODIFIED +PATH\nfolder .* data\nfile +11 .* piped\n$/);
    expect(json(await call("session", "files", "demo", "data", "--json"))).toMatchObject({
      path: "data",
      entries: [{ path: "data/한.csv" }],
      truncated: false,
    });
    expect(await call("session", "download", "demo", "data/한.csv", "-")).toMatchObject({
      status: 0,
      stdout: "a,b\n",
    });
    expect(json(await call("session", "download", "demo", "piped", local("out"), "--json"))).toEqual({
      path: "piped",
      file: local("out"),
      bytes: 11,
    });
    expect(readFileSync(local("out"), "utf8")).toBe("from a pipe");
  });

  test("replace no file that is there, unless told to", async () => {
    writeFileSync(local("kept"), "kept");
    const refused = await call("session", "download", "demo", "piped", local("kept"), "--json");
    expect(refused.status).toBe(2);
    expect(json(refused)).toMatchObject({
      error: { code: "invalid_request", message: `${local("kept")} exists.` },
    });
    expect(readFileSync(local("kept"), "utf8")).toBe("kept");
    expect((await call("session", "download", "demo", "piped", local("kept"), "--force")).status).toBe(0);
    expect(readFileSync(local("kept"), "utf8")).toBe("from a pipe");
    expect((await call("session", "download", "demo", "absent", local("kept"), "--force")).status).toBe(2);
    expect(readFileSync(local("kept"), "utf8")).toBe("from a pipe");
    expect(readdirSync(here).sort()).toEqual(["kept", "out", "한.csv"]);
  });

  test.each([
    [["session", "files", "absent"], "unknown_session"],
    [["session", "files", "demo", ".."], "invalid_path"],
    [["session", "download", "demo", "../history.db", "-"], "invalid_path"],
    [["session", "download", "demo", "absent", "-"], "unknown_file"],
    [["session", "upload", "demo", "/absent"], "invalid_request"],
    [["session", "upload", "demo", "/"], "invalid_request"],
    [["session", "upload", "demo", "-"], "invalid_request"],
    [["session", "upload", "demo", "package.json", "../../x"], "invalid_path"],
  ])("%j: status 2, %s", async (args, code) => {
    const refused = await call(...args);
    expect(refused).toMatchObject({ status: 2, stdout: "" });
    expect(refused.stderr).toContain(`(${code})`);
  });
});

test("inspect", async () => {
  const all = await call("inspect", "--session", "demo");
  expect(all.stdout).toMatch(/^numbers +list +3 +\[1, 2, 3\]$/m);
  expect(json(await call("inspect", "--session", "demo", "--json"))).toMatchObject({
    session: "demo",
    variables: [{ name: "numbers" }],
  });
  const one = await call("inspect", "numbers", "--session", "demo");
  expect(one.stdout).toContain("0: int = 1");
  expect(json(await call("inspect", "numbers", "--session", "demo", "--json"))).toMatchObject({
    name: "numbers",
  });
});

test("history and history show", async () => {
  const found = json(await call("history", "numbers", "--json")) as { executions: Array<{ id: string }> };
  expect(found.executions).toHaveLength(1);
  const errors = await call("history", "--status", "error", "--session", "demo", "--since", "1h");
  expect(errors.stdout).toContain("ValueError: 한국어");
  const id = found.executions[0]?.id ?? "";
  expect(json(await call("history", "show", id, "--json"))).toMatchObject({
    id,
    code: "numbers = [1, 2, 3]\nnumbers",
  });
  const shown = await call("history", "show", id);
  expect(shown.stdout).toContain("── code ──\nnumbers = [1, 2, 3]\nnumbers\n");
  expect(shown.stdout).toContain("+ numbers: list = [1, 2, 3]");
  const page = await call("history", "--session", "demo", "--limit", "1");
  expect(page.stderr).toContain("--cursor");
  const nothing = await call("history", "there is no such thing");
  expect(nothing).toMatchObject({ status: 0, stdout: "" });
});

describe("daemon", () => {
  test("status, start and stop", async () => {
    const home = temporaryFolder();
    try {
      expect(await execute(home, ["daemon", "status"])).toMatchObject({ status: 4, stdout: "" });
      expect(json(await execute(home, ["daemon", "stop", "--json"]))).toEqual({ stopped: false, pid: null });
      const started = json(await execute(home, ["daemon", "start", "--json"]));
      expect(started).toMatchObject({ home, isolation: expect.stringMatching(/^(sandbox|reduced|none)$/) });
      const status = json(await execute(home, ["daemon", "status", "--json"]));
      expect(status.pid).toBe(started.pid);
      expect((await execute(home, ["daemon", "start"])).stdout).toContain(
        `running, pid ${String(started.pid)}`,
      );
      expect(json(await execute(home, ["daemon", "stop", "--json"]))).toEqual({
        stopped: true,
        pid: started.pid,
      });
      expect((await execute(home, ["daemon", "status"])).status).toBe(4);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });

  test("run serves in the foreground until a signal", async () => {
    const home = temporaryFolder();
    try {
      const running = start(home, ["daemon", "run"]);
      for (;;) {
        const status = await execute(home, ["daemon", "status", "--json"]);
        if (status.status === 0) {
          expect(json(status).pid).toBe(running.child.pid);
          break;
        }
      }
      const second = await execute(home, ["daemon", "run"]);
      expect(second.status).toBe(4);
      expect(second.stderr).toContain("Another daemon");
      running.child.kill("SIGTERM");
      expect((await running.outcome).status).toBe(0);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
});

describe("doctor", () => {
  test("names what works, and which isolation there is", async () => {
    const outcome = await call("doctor", "--json");
    const { ok, checks } = json(outcome) as {
      ok: boolean;
      checks: Array<{ name: string; status: string; detail: string }>;
    };
    expect(outcome.status).toBe(ok ? 0 : 4);
    const by = Object.fromEntries(checks.map((check) => [check.name, check]));
    expect(by.node?.status).toBe("ok");
    expect(by.home?.detail).toBe(at.home);
    expect(by.python?.status).toBe("ok");
    expect(by.isolation).toMatchObject({ detail: expect.stringMatching(/\b(sandbox|reduced|none)\b/) });
    expect(by.daemon?.status).toBe("ok");
  });

  test("without Python and without a usable home: status 4, with remedies", async () => {
    const folder = temporaryFolder();
    try {
      const file = path.join(folder, "file");
      writeFileSync(file, "");
      const outcome = await execute(file, ["doctor", "--json"], { env: { PATH: folder } });
      expect(outcome).toMatchObject({ status: 4, stderr: "" });
      const { ok, checks } = json(outcome) as {
        ok: boolean;
        checks: Array<{ name: string; status: string; remedy: string | null }>;
      };
      expect(ok).toBe(false);
      const failed = checks.filter((check) => check.status === "failed");
      expect(failed.map((check) => check.name)).toEqual(["home", "python", "daemon"]);
      for (const check of failed) expect(check.remedy).toBeTruthy();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("help", () => {
  test.each([
    [[]],
    [["run"]],
    [["mcp"]],
    [["daemon"]],
    [["session"]],
    [["history"]],
    [["inspect"]],
    [["doctor"]],
  ])("%j --help", async (args) => {
    const outcome = await call(...args, "--help");
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    expect(outcome.stdout).toContain("Usage: execute-code");
  });

  test("--version, and no command at all", async () => {
    expect((await call("--version")).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(await call()).toMatchObject({ status: 2, stdout: "" });
    expect(await call("daemon")).toMatchObject({ status: 2, stdout: "" });
  });
});

test("colour is only for terminals", async () => {
  for (const args of [["session", "list"], ["doctor"], ["run", "-c", "1/0"], ["session", "show", "absent"]]) {
    const outcome = await call(...args);
    expect(outcome.stdout + outcome.stderr).not.toContain("\u001b");
  }
});
