/**
 * The daemon is killed at any instant, also while boxes start and while sessions are forked, kept and captured: no
 * process of any session is left, at the latest when the next daemon has swept.
 */
import { execFileSync } from "node:child_process";
import { expect, test, vi } from "vitest";
import { connect } from "../../src/sdk/index.ts";
import { testHome } from "../support/home.ts";
import { descendants, isAlive, type Process } from "./processes.ts";
import { quantile, ROUNDS, tell } from "./rounds.ts";

/** By themselves. */
const GONE_MS = 500;
/** After the next daemon's start. */
const SWEPT_MS = 1_000;

const commands = (): string => execFileSync("ps", ["-eo", "args"], { encoding: "utf8" });

test(
  `no process of a session is alive ${SWEPT_MS} ms after kill -9 and one restart (${ROUNDS} times)`,
  async () => {
    await using home = await testHome();
    const { client } = home;
    for (let round = 0; round < ROUNDS; round++) {
      const mark = `8${process.pid}${round}`;
      const { pid } = await client.health();
      // A client that is closed asks no later daemon for the same.
      const doomed = await connect({ home: home.home });
      const sessions = [0, 1, 2].map((number) =>
        doomed
          .execute({
            session: `r${round}-${number}`,
            code: `import os, subprocess, time\nsubprocess.Popen(['sleep', '${mark}'], start_new_session=True)\nif os.fork() == 0:\n    os.setsid(); os.execvp('sleep', ['sleep', '${mark}'])\ntime.sleep(60)`,
            timeoutMs: 0,
          })
          .catch(() => null),
      );
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 250));
      process.kill(pid, "SIGKILL");
      await doomed.close();
      await Promise.all(sessions);
      // The next daemon, started by this call, sweeps.
      expect((await client.health()).pid).not.toBe(pid);
      const deadline = Date.now() + SWEPT_MS;
      while (commands().includes(`sleep ${mark}`)) {
        if (Date.now() > deadline) expect.fail(`round ${round}: ${mark} is alive`);
      }
    }
    tell(`${ROUNDS} rounds of starting sessions`);
  },
  ROUNDS * 10_000 + 30_000,
);

test(
  `snapshots, forks and captures are gone ${GONE_MS} ms after kill -9, or at the sweep (${ROUNDS} times)`,
  async () => {
    await using home = await testHome();
    const { client } = home;
    const took: number[] = [];
    let swept = 0;
    let most = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const { pid } = await client.health();
      const doomed = await connect({ home: home.home });
      const session = `kept-${round}`;
      for (const code of ["x = [0] * 1_000_000", "x[0] = 1", "y = bytes(30_000_000)"]) {
        await doomed.execute({ session, code });
      }
      await doomed.snapshot(session, "named");
      await doomed.fork(session, { count: 2 });
      // One of these is under way when the daemon dies.
      const under = [
        doomed.capture(session),
        doomed.fork(session, { count: 2 }),
        doomed.execute({ session, code: "x[1] = 2", timeoutMs: 0 }),
        doomed.snapshot(session, "other"),
      ].map((one) => one.catch(() => null));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100));
      const all: Process[] = descendants(pid);
      // A kernel, three snapshots, two forks at least.
      expect(all.length).toBeGreaterThan(6);
      most = Math.max(most, all.length);
      process.kill(pid, "SIGKILL");
      const died = performance.now();
      await doomed.close();
      const alone = await vi
        .waitUntil(() => !all.some(isAlive), { timeout: GONE_MS, interval: 5 })
        .then(() => true)
        .catch(() => false);
      if (alone) took.push(performance.now() - died);
      else swept += 1;
      await Promise.all(under);
      expect((await client.health()).pid).not.toBe(pid);
      await vi.waitUntil(() => !all.some(isAlive), { timeout: SWEPT_MS, interval: 5 });
    }
    tell(
      `${ROUNDS} rounds, up to ${most} processes: gone by themselves ${took.length} times (median ${quantile(took, 0.5).toFixed(0)} ms, worst ${quantile(took, 1).toFixed(0)} ms), at the sweep ${swept} times`,
    );
  },
  ROUNDS * 20_000 + 30_000,
);
