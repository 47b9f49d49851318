/** Every execution is on record: found by a part of a word in its code, output or error, in any script. */
import assert from "node:assert/strict";
import { connect } from "../src/sdk/index.ts";

await using client = await connect();
const session = await client.session("example-05");

const made = await session.execute("column_totals = {'서울': 3}\nprint('합계를 계산했습니다')");
for (const query of ["column_tot", "합계", "계산"]) {
  const { executions } = await client.history({ query, session: "example-05" });
  console.log(
    query,
    "→",
    executions.map((execution) => execution.id),
  );
  assert.equal(executions[0]?.id, made.id);
}

const record = await client.execution(made.id);
assert.deepEqual(
  record.variables.added.map((variable) => variable.name),
  ["column_totals"],
);
await session.close();
