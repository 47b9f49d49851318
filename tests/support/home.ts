/** A private home for a test, on its own daemon; both are gone afterwards. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Client, connect } from "../../src/sdk/index.ts";

export interface TestHome extends AsyncDisposable {
  readonly home: string;
  readonly client: Client;
}

/** Named after the test run, so that what it leaves behind is found. */
export function temporaryFolder(): string {
  return mkdtempSync(path.join(tmpdir(), process.env.EXECUTE_CODE_TEST_RUN ?? "ec-test-"));
}

/** Starts a daemon with the given additions to the environment. */
export async function testHome(env: NodeJS.ProcessEnv = {}): Promise<TestHome> {
  const home = temporaryFolder();
  const client = await connect({ home, env: { ...process.env, EXECUTE_CODE_WARM: "1", ...env } });
  return {
    home,
    client,
    async [Symbol.asyncDispose]() {
      await client.stop({ drainMs: 0 });
      await client.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}
