import { execFile } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Client, connect, ExecuteCodeError } from "../../src/sdk/index.ts";
import { temporaryFolder } from "../support/home.ts";

const run = promisify(execFile);
const DOOR = path.resolve("src/sdk/index.ts");

let home: string;
beforeEach(() => {
  home = temporaryFolder();
});
afterEach(async () => {
  await connect({ home, start: false }).then(
    async (client) => {
      const { pid } = await client.stop({ drainMs: 0 });
      await client.close();
      await gone(pid);
    },
    () => {},
  );
  rmSync(home, { recursive: true, force: true });
});

async function gone(pid: number): Promise<void> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    if (Date.now() > deadline) throw new Error(`process ${pid} is still there`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return error instanceof ExecuteCodeError ? error.code : String(error);
}

/** Runs a module's text in a process of its own, in which `connect` and `home` are there. */
async function elsewhere(code: string): Promise<string> {
  const source = `import { connect } from ${JSON.stringify(DOOR)}; const home = ${JSON.stringify(home)};\n${code}`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", source], { timeout: 25_000 });
  return stdout.trim();
}

/** Kills a daemon, and comes back with its end; no event of this process is heard meanwhile. */
function killAtOnce(pid: number): void {
  process.kill(pid, "SIGKILL");
  const deadline = Date.now() + 5_000;
  while (existsSync(`/proc/${pid}/stat`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) {
    if (Date.now() > deadline) throw new Error(`process ${pid} is still there`);
  }
}

describe("a kept connection", () => {
  test("of a daemon that has ended loses no call, also not one that is sent once", async () => {
    await using client = await connect({ home });
    await client.execute({ session: "main", code: "x = 1" });
    for (const [count, name] of ["one", "two", "three"].entries()) {
      killAtOnce((await client.health()).pid);
      await client.createSession({ name });
      expect((await client.sessions()).map((session) => session.name)).toHaveLength(count + 2);
    }
  });
});

describe("connect", () => {
  test("starts a daemon that outlives the process that started it", async () => {
    const first = await elsewhere("const c = await connect({ home }); console.log((await c.health()).pid);");
    const second = await elsewhere("const c = await connect({ home }); console.log((await c.health()).pid);");
    expect(first).toMatch(/^\d+$/);
    expect(second).toBe(first);
  });

  test("leaves nothing that keeps a process alive, closed or not", async () => {
    const output = await elsewhere(`
      const open = await connect({ home });
      console.log((await open.execute({ code: "6 * 7" })).result.text);
      for await (const event of open.stream({ code: "1" })) if (event.type === "end") console.log("end");
    `);
    expect(output).toBe("42\nend");
  });

  test("brings racing clients of many processes to one daemon", async () => {
    const pids = await Promise.all(
      Array.from({ length: 5 }, () =>
        elsewhere("await using c = await connect({ home }); console.log((await c.health()).pid);"),
      ),
    );
    expect(new Set(pids).size).toBe(1);
    expect(pids[0]).toMatch(/^\d+$/);
  });

  test("brings racing clients of one process to one daemon", async () => {
    const clients = await Promise.all(Array.from({ length: 4 }, () => connect({ home })));
    const pids = await Promise.all(clients.map(async (client) => (await client.health()).pid));
    expect(new Set(pids).size).toBe(1);
    await Promise.all(clients.map((client) => client.close()));
  });

  test("fails with daemon_unreachable when none is to be started, and starts none", async () => {
    expect(await codeOf(connect({ home, start: false }))).toBe("daemon_unreachable");
    expect(existsSync(path.join(home, "daemon.sock"))).toBe(false);
  });

  test("throws what the starting daemon reports", async () => {
    const file = path.join(home, "file");
    writeFileSync(file, "");
    expect(await codeOf(connect({ home: file }))).toBe("home_unusable");
    expect(await codeOf(connect({ home: path.join(file, "below") }))).toBe("home_unusable");
  });

  test("fails with daemon_start_failed when it ends without a word", async () => {
    const failed = connect({ home, env: { ...process.env, NODE_OPTIONS: "--no-such-option" } });
    expect(await codeOf(failed)).toBe("daemon_start_failed");
    await expect(failed).rejects.toMatchObject({ details: { exit_code: 9 } });
  });

  test("takes no notice of a socket that a killed daemon left behind", async () => {
    await using client = await connect({ home });
    const { pid } = await client.health();
    process.kill(pid, "SIGKILL");
    await gone(pid);
    expect(existsSync(path.join(home, "daemon.sock"))).toBe(true);
    await using other = await connect({ home });
    expect((await other.health()).pid).not.toBe(pid);
  });
});

describe("a client whose daemon goes away", () => {
  async function started(): Promise<Client> {
    return await connect({ home });
  }

  test("goes on with the next one after a stop", async () => {
    await using client = await started();
    const { pid } = await client.stop();
    expect(existsSync(path.join(home, "daemon.sock"))).toBe(false);
    expect((await client.execute({ code: "1 + 1" })).result?.text).toBe("2");
    expect((await client.health()).pid).not.toBe(pid);
  });

  test("goes on with the next one after its death, and runs nothing twice", async () => {
    await using client = await started();
    const { pid } = await client.health();
    const { workspace } = await client.createSession({ name: "main" });
    const marker = path.join(workspace, "runs");
    const code = "with open('runs', 'a') as f: f.write('x')\nimport time; time.sleep(20)";
    const running = client.execute({ code });
    const ran = (async () => {
      while (!existsSync(marker)) await new Promise((resolve) => setTimeout(resolve, 10));
    })();
    await Promise.race([ran, running]);
    process.kill(pid, "SIGKILL");
    const record = await running;
    expect(record.status).toBe("interrupted");
    expect(record.stdout).toBe("");
    expect((await client.history({})).executions.map((one) => one.id)).toEqual([record.id]);
    expect(readFileSync(marker, "utf8")).toBe("x");
  });

  test("with start: false says so", async () => {
    await using _keeper = await started();
    await using client = await connect({ home, start: false });
    await client.stop({ drainMs: 0 });
    expect(await codeOf(client.execute({ code: "1" }))).toBe("daemon_unreachable");
  });
});
