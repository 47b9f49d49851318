/** What previews tell of values, and the language in which it is asked for. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Change, holds, NotUnderstood, parseCondition } from "../../src/memory/ports/values.ts";
import { checkCondition } from "../../src/memory/values.ts";

function changed(type: string, preview: string): Change {
  return { change: "changed", name: "x", type, preview };
}

describe("a condition holds", () => {
  test.each([
    ["int", "41", "value = 41"],
    ["int", "41", "value == 41"],
    ["int", "41", "value>40 and value<42"],
    ["int", "-3", "value < 0"],
    ["int", "9007199254740993", "value > 9007199254740992"],
    ["int", "1000000", "value = 1_000_000"],
    ["float", "1e+300", "value >= 1e300"],
    ["float", "nan", "value != 1"],
    ["float", "-inf", "value < -1e308"],
    ["float64", "2.5", "value = 2.5"],
    ["int", "1234", "value ~ 23"],
    ["bool", "True", "value = True"],
    ["NoneType", "None", "value = None"],
    ["str", "'hello'", "value = hello"],
    ["str", "'hello'", "value ~ ELL"],
    ["str", "'hello'", "value > 'a' and value < 'i'"],
    ["str", "'None'", "value = 'None'"],
    ["str", "'None'", "value != None"],
    ["str", `"it's"`, String.raw`value = 'it\'s'`],
    ["str", String.raw`'a\nb\x07é\\'`, "length = 6"],
    ["str", `'${"x".repeat(78)}…`, "length > 78"],
    ["str", `'${"x".repeat(78)}…`, "value != 'xyz'"],
    ["str", `'${"x".repeat(78)}…`, "value ~ 'xxx'"],
    ["bytes", "b'ab'", "length = 2"],
    ["date", "2026-11-22", "value > '2026-01-01'"],
    ["list", "[1, 2, 3]", "length = 3"],
    ["list", "[]", "length = 0"],
    ["list", "['a, b', [1, 2], (3, 4)]", "length = 3"],
    ["tuple", "(1,)", "length = 1"],
    ["dict", "{'a': [1, 2], 'b': {'c': 1}}", "length = 2"],
    ["set", "set()", "length = 0"],
    ["frozenset", "frozenset({1, 2})", "length = 2"],
    ["list", "[0, 1, 2, …]", "length > 3"],
    ["list", "[0, 1, 2, 3, 4…", "length >= 5"],
    ["list", "[0, 1, 2, …]", "length != 2"],
    ["range", "range(0, 10, 3)", "length = 4"],
    ["DataFrame", "<DataFrame 1500×5>", "rows > 1000"],
    ["DataFrame", "<DataFrame 1500×5>", "columns = 5 and length = 1500"],
    ["Series", "<Series 7 int64>", "rows = 7 and preview ~ int64"],
    ["ndarray", "<ndarray 2×3×4 float64>", "rows = 2 and columns = 3"],
    ["MyFrame", "<MyFrame 0×0>", "rows = 0"],
    ["DataFrame", "<DataFrame 1×2>", "type = DataFrame or type = Series"],
    ["DataFrame", "<DataFrame 1×2>", "TYPE ~ frame AND rows <= 1"],
    ["int", "1", "value = 2 or (value = 1 and (type = int))"],
    ["int", "1", "change = changed and change != 'added'"],
  ])("for %s %s: %s", (type, preview, condition) => {
    expect(holds(parseCondition(condition), changed(type, preview))).toBe(true);
  });
});

describe("a condition does not hold", () => {
  test.each([
    ["int", "41", "value = 42"],
    ["int", "41", "value = '41'"],
    ["float", "nan", "value = nan"],
    ["int", "1", "length = 1"],
    ["int", "1", "rows = 1"],
    ["int", "<int of 600 bits>", "value > 5"],
    ["Color", "<Color.RED: 1>", "rows = 1"],
    ["complex", "(1+2j)", "length = 1"],
    ["Series", "<Series 7 int64>", "columns = 7"],
    ["Tensor", "<Tensor scalar float32>", "rows >= 0"],
    ["str", "'5'", "value = 5"],
    ["str", "'5'", "value > 4"],
    ["str", "'None'", "value = None"],
    // It may be longer than what is shown.
    ["list", "[0, 1, 2, …]", "length < 100"],
    ["list", "[0, 1, 2, …]", "length = 3"],
    ["str", `'${"x".repeat(78)}…`, `value = '${"x".repeat(78)}'`],
    ["str", `'${"x".repeat(78)}…`, `value != '${"x".repeat(90)}'`],
    ["list", "[1]", "value > 'a'"],
    // `and` binds more closely.
    ["int", "1", "type = str and value = 1 or value = 2"],
  ])("for %s %s: %s", (type, preview, condition) => {
    expect(holds(parseCondition(condition), changed(type, preview))).toBe(false);
  });

  test("for a deleted variable, of which nothing but that is known", () => {
    const deleted: Change = { change: "deleted", name: "x", type: null, preview: null };
    expect(holds(parseCondition("type != int"), deleted)).toBe(false);
    expect(holds(parseCondition("change = deleted"), deleted)).toBe(true);
  });
});

describe("what is not understood", () => {
  test.each([
    ["", 0, "the end stands where one of"],
    ["rows", 4, "the end stands where one of = != < <= > >= ~"],
    ["rows >", 6, "the end stands where a number"],
    ["rows > ", 6, "the end stands where a number"],
    ["rows > many", 7, "`many` stands where a number, since `rows` is one"],
    ["size > 1", 0, "`size` stands where one of `type`"],
    ["rows > 1 rows", 9, "`rows` stands where `and`, `or` or the end"],
    ["(rows > 1", 9, "the end stands where `and`, `or` or `)`"],
    ["rows > 1)", 8, "`)` stands where"],
    ["rows ~ 1", 5, "since `rows` is a number"],
    ["type < 'a'", 5, "since `type` is a text"],
    ["change = gone", 9, "added, changed or deleted"],
    ["type = 'int", 7, "the text has no end"],
    ["not rows > 1", 0, "`not` stands where"],
    ["rows ! 1", 5, "`!` has no meaning here"],
    [`${"(".repeat(60)}rows > 1`, 50, "fewer brackets"],
  ])("%s", (text, position, message) => {
    expect(() => checkCondition(text)).toThrow(
      expect.objectContaining({
        code: "invalid_request",
        message: expect.stringContaining(message),
        details: { position },
        remedy: expect.stringMatching(/^(Write|Close|Put) /),
      }),
    );
  });

  test("is always told as that, and whatever is understood can be judged", () => {
    const word = fc.constantFrom(
      "rows",
      "value",
      "type",
      "and",
      "or",
      "(",
      ")",
      "=",
      "~",
      ">",
      "'a'",
      "1",
      "é",
      '"',
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(word).map((words) => words.join(" ")),
    );
    fc.assert(
      fc.property(text, fc.string(), fc.constantFrom("str", "list", "int"), (condition, preview, type) => {
        try {
          expect([true, false]).toContain(holds(parseCondition(condition), changed(type, preview)));
        } catch (error) {
          expect(error).toBeInstanceOf(NotUnderstood);
        }
      }),
    );
    fc.assert(
      fc.property(fc.string(), fc.constantFrom("str", "list", "dict", "ndarray"), (preview, type) => {
        for (const condition of ["length >= 0", "rows > 1", "value = 'x'", "value < 5"]) {
          expect([true, false]).toContain(holds(parseCondition(condition), changed(type, preview)));
        }
      }),
    );
  });
});
