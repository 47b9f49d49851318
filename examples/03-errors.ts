/** A failing cell is a record like any other: what it did before the error stays. */
import assert from "node:assert/strict";
import { connect } from "../src/sdk/index.ts";

await using client = await connect();
const session = await client.session("example-03");

const failed = await session.execute("rows = [1, 2, 3]\ntotal = sum(rows) / len(rows[:0])");
console.log(failed.error?.traceback);
assert.equal(failed.status, "error");
assert.equal(failed.error?.type, "ZeroDivisionError");
assert.equal(failed.error?.line, 2);

const recovered = await session.execute("sum(rows) / len(rows)");
assert.equal(recovered.result?.text, "2.0");

// The same mistake has the same fingerprint, whatever the values were.
const again = await session.execute("total = sum(rows) / len(rows[:0])");
assert.equal(again.features.error_fingerprint, failed.features.error_fingerprint);
await session.close();
