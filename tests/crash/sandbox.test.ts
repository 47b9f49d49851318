/** The daemon is killed at any instant, also while boxes start: nothing of any session is left. */
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { connect } from "../../src/sdk/index.ts";
import { testHome } from "../support/home.ts";

const ROUNDS = Number(process.env.EXECUTE_CODE_CRASH_ROUNDS ?? 4);
const GONE_MS = 1_000;

const commands = (): string => execFileSync("ps", ["-eo", "args"], { encoding: "utf8" });

test(
  `no process of a session is alive ${GONE_MS} ms after kill -9 and one restart (${ROUNDS} times)`,
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
      const deadline = Date.now() + GONE_MS;
      while (commands().includes(`sleep ${mark}`)) {
        if (Date.now() > deadline) expect.fail(`round ${round}: ${mark} is alive`);
      }
    }
  },
  ROUNDS * 10_000 + 30_000,
);
