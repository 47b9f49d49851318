/** Output, progress and the end arrive as events, while the code runs. */
import assert from "node:assert/strict";
import { connect } from "../src/sdk/index.ts";

await using client = await connect();
const session = await client.session("example-02");

const seen: string[] = [];
const code = `
for i in range(3):
    print("step", i)
    ec.progress(i + 1, 3)
`;
for await (const event of session.stream(code)) {
  seen.push(event.type);
  if (event.type === "stdout") process.stdout.write(event.text);
  if (event.type === "progress") console.log(`${event.done} of ${event.total}`);
  if (event.type === "end") console.log(event.record.status, event.record.duration_ms, "ms");
}
assert.equal(seen.at(0), "accepted");
assert.equal(seen.at(-1), "end");
assert.ok(seen.includes("stdout") && seen.includes("progress"));
await session.close();
