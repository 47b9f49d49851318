import { expect, test } from "vitest";
import { errorFingerprint, parameterise } from "../../src/memory/executions/fingerprint.ts";

const frames = [{ source: "exec_1", function: "load", line: 3, text: "  return rows[i]" }];

test("a message loses what varies from one occurrence to the next", () => {
  expect(parameterise("index 17 is out of bounds for axis 0 with size 9")).toBe(
    "index <number> is out of bounds for axis <number> with size <number>",
  );
  expect(parameterise("<C object at 0x7f3a> has no attribute 'wide'")).toBe(
    "<C object at <address>> has no attribute <value>",
  );
});

test("the same mistake at the same place has one fingerprint, wherever the cell stands", () => {
  const one = errorFingerprint({ type: "KeyError", message: "'a'", frames });
  const again = errorFingerprint({
    type: "KeyError",
    message: "'b'",
    frames: [{ ...frames[0]!, line: 90, source: "exec_2" }],
  });
  expect(again).toBe(one);
  expect(errorFingerprint({ type: "IndexError", message: "'a'", frames })).not.toBe(one);
  expect(errorFingerprint({ type: "KeyError", message: "'a'", frames: [] })).not.toBe(one);
});
