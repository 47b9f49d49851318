/** A caller need not wait: the execution goes on, and is looked at, waited for or interrupted by its id. */
import assert from "node:assert/strict";
import { connect } from "../src/sdk/index.ts";

await using client = await connect();
const session = await client.session("example-04");

const code = "import time\nfor i in range(600):\n    print(i, flush=True)\n    time.sleep(0.1)";
const started = await session.execute(code, { timeoutMs: 300, onTimeout: "detach" });
console.log(started.id, started.status, JSON.stringify(started.stdout));
assert.equal(started.status, "running");

const ended = await client.interrupt(started.id);
console.log(ended.status, "after", Math.round(ended.duration_ms), "ms");
assert.equal(ended.status, "interrupted");
assert.match(ended.stdout, /^0\n1\n/);

// The loop's variable is still there: an interrupt loses nothing.
assert.equal((await session.execute("i >= 1")).result?.text, "True");
await session.close();
