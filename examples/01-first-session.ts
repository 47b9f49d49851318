/** A session keeps its variables from one call to the next. */
import assert from "node:assert/strict";
import { connect } from "../src/sdk/index.ts";

await using client = await connect();
const session = await client.session("example-01");

await session.execute("import statistics\nheights = [1.62, 1.75, 1.80, 1.68]");
const run = await session.execute("round(statistics.mean(heights), 3)");

console.log(run.id, run.status, run.result?.text);
assert.equal(run.result?.text, "1.712");
await session.close();
