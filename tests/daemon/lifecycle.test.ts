/** The daemon's life: one owner a home, racing clients, crashes, damaged and read-only homes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { daemonSocket } from "../../src/contract/location.ts";
import { connect, daemonProgram } from "../../src/sdk/index.ts";
import { temporaryFolder, testHome } from "../support/home.ts";

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

async function until(what: string, holds: () => boolean, ms = 5_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Runs a daemon in the foreground to its end. */
function runDaemon(home: string): Promise<{ status: number | null; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [daemonProgram(), "--home", home], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (text: Buffer) => {
      stderr += text.toString();
    });
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, stderr }));
  });
}

test("ten racing clients start one daemon", async () => {
  const home = temporaryFolder();
  const clients = await Promise.all(Array.from({ length: 10 }, () => connect({ home })));
  const pids = new Set(await Promise.all(clients.map(async (client) => (await client.health()).pid)));
  expect(pids.size).toBe(1);
  await clients[0]!.stop();
  await Promise.all(clients.map((client) => client.close()));
  rmSync(home, { recursive: true });
});

test("a second daemon refuses, names the owner, and harms nothing", async () => {
  await using home = await testHome();
  const { pid } = await home.client.health();
  const second = await runDaemon(home.home);
  expect(second.status).toBe(4);
  expect(second.stderr).toContain(`pid ${pid}`);
  expect(second.stderr).toContain("EXECUTE_CODE_HOME");
  expect((await home.client.execute({ code: "1 + 1" })).result?.text).toBe("2");
});

test("a log that takes no line holds up nobody, whose end it tells, either", async () => {
  const folder = temporaryFolder();
  symlinkSync("/dev/full", path.join(folder, "daemon.log"));
  const module = path.resolve(import.meta.dirname, "../../src/platform/logger.ts");
  const code = `const { createLogger } = await import(${JSON.stringify(module)});
    const log = createLogger({ folder: ${JSON.stringify(folder)} });
    log.info("one"); log.fatal("two"); process.exit(7);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { timeout: 10_000 });
  const [status] = (await once(child, "exit")) as [number | null];
  expect(status).toBe(7);
  rmSync(folder, { recursive: true });
});

test("the socket is private, in a private folder", async () => {
  await using home = await testHome();
  expect(statSync(daemonSocket(home.home)).mode & 0o777).toBe(0o600);
  expect(statSync(home.home).mode & 0o777).toBe(0o700);
});

test("a home with a path too long for a socket works", async () => {
  const parent = temporaryFolder();
  const home = path.join(parent, "a".repeat(100), "b".repeat(60));
  const client = await connect({ home });
  expect((await client.execute({ code: "6 * 7" })).result?.text).toBe("42");
  await client.stop();
  await client.close();
  rmSync(parent, { recursive: true });
  rmSync(path.dirname(daemonSocket(home)), { recursive: true });
});

test("after kill -9: nothing survives, nothing acknowledged is lost, what ran is interrupted", async () => {
  await using home = await testHome();
  const first = await home.client.execute({ session: "s", code: "x = 1" });
  const { pid } = await home.client.health();
  const kernel = (await (await home.client.session("s")).show()).pid!;
  const running = home.client.execute({ session: "s", code: "import time; time.sleep(60)", timeoutMs: 0 });
  const { id } = await running;
  process.kill(pid, "SIGKILL");
  await until("the kernel is gone", () => !isAlive(kernel));
  expect(existsSync(daemonSocket(home.home))).toBe(true);
  // The stale socket is no hindrance: the next use starts a new daemon.
  const after = await home.client.execute({ session: "s", code: "x" });
  expect((await home.client.health()).pid).not.toBe(pid);
  expect(after).toMatchObject({ state: "restored", generation: 2, parent: first.id });
  expect(after.result?.text).toBe("1");
  expect(await home.client.execution(first.id)).toEqual(first);
  expect(await home.client.execution(id)).toMatchObject({ status: "interrupted" });
  expect((await home.client.execute({ session: "s", code: "1" })).state).toBe("retained");
});

test("an orderly stop drains what runs, and leaves no process", async () => {
  await using home = await testHome();
  const { pid } = await home.client.health();
  const running = home.client.execute({ session: "s", code: "import time; time.sleep(0.5); 'done'" });
  await home.client.execute({ session: "other", code: "1" });
  await home.client.stop({ drainMs: 5_000 });
  expect(await running).toMatchObject({ status: "ok", result: { text: "'done'" } });
  await until("the daemon is gone", () => !isAlive(pid));
  expect(existsSync(daemonSocket(home.home))).toBe(false);
});

test("a damaged database is refused and left alone", async () => {
  const home = temporaryFolder();
  const garbage = Buffer.alloc(8192, "not a database ");
  writeFileSync(path.join(home, "history.db"), garbage);
  await expect(connect({ home })).rejects.toMatchObject({ code: "database_damaged" });
  expect(readFileSync(path.join(home, "history.db")).equals(garbage)).toBe(true);
  rmSync(home, { recursive: true });
});

test("a newer database is refused and left alone", async () => {
  const home = temporaryFolder();
  const database = new DatabaseSync(path.join(home, "history.db"));
  database.exec("CREATE TABLE future (x); PRAGMA user_version = 9999");
  database.close();
  await expect(connect({ home })).rejects.toMatchObject({ code: "database_newer" });
  rmSync(home, { recursive: true });
});

test("a home that is a file is refused with the remedy", async () => {
  const folder = temporaryFolder();
  const home = path.join(folder, "file");
  writeFileSync(home, "");
  await expect(connect({ home })).rejects.toMatchObject({
    code: "home_unusable",
    remedy: expect.stringContaining("0700"),
  });
  rmSync(folder, { recursive: true });
});

test("without Python: a clear error with its remedy, and the daemon lives", async () => {
  const empty = temporaryFolder();
  mkdirSync(path.join(empty, "bin"));
  await using home = await testHome({ PATH: path.join(empty, "bin"), EXECUTE_CODE_PYTHON: "python3" });
  await expect(home.client.execute({ code: "1" })).rejects.toMatchObject({
    code: "no_python",
    remedy: expect.stringContaining("EXECUTE_CODE_PYTHON"),
  });
  expect((await home.client.health()).python).toBeNull();
  const checks = await home.client.doctor();
  expect(checks.find((check) => check.name === "python")).toMatchObject({ status: "failed" });
  rmSync(empty, { recursive: true });
});
