import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MarkSplitter } from "../../src/execution/output/marks.ts";

const NONCE = "0123456789abcdef0123456789abcdef";
const mark = (sequence: number | string, nonce = NONCE): string => `\u001b]ec;${nonce};${sequence}\u0007`;

/** Text and marks in the order they come out, adjacent text joined. */
function split(chunks: Buffer[]): Array<string | number> {
  const out: Array<string | number> = [];
  const splitter = new MarkSplitter(NONCE, {
    bytes: (chunk) => {
      const text = chunk.toString("latin1");
      if (typeof out.at(-1) === "string") out[out.length - 1] += text;
      else out.push(text);
    },
    mark: (sequence) => out.push(sequence),
  });
  for (const chunk of chunks) splitter.push(chunk);
  splitter.end();
  return out;
}

describe("marks in an output stream", () => {
  test("are taken out, and the text around them stays", () => {
    expect(split([Buffer.from(`${mark(1)}hello${mark(2)}late${mark(3)}`, "latin1")])).toEqual([
      1,
      "hello",
      2,
      "late",
      3,
    ]);
  });

  test.each([
    ["another nonce", mark(1, "f".repeat(32))],
    ["no digits", mark("")],
    ["letters for digits", mark("1x")],
    ["too many digits", mark("1".repeat(17))],
    ["no end", `\u001b]ec;${NONCE};12345678901234567890`],
    ["a prefix that stops", "\u001b]ec;0123"],
  ])("with %s are text", (_, text) => {
    expect(split([Buffer.from(`a${text}b`, "latin1")])).toEqual([`a${text}b`]);
  });

  test("are found however the stream is cut", () => {
    const piece = fc.oneof(
      fc.string({ maxLength: 20 }).map((text) => Buffer.from(text, "latin1").toString("latin1")),
      fc.integer({ min: 1, max: 1e6 }).map((sequence) => mark(sequence)),
      fc.constantFrom("\u001b", "\u001b]ec;", mark(1, "e".repeat(32)), `\u001b]ec;${NONCE};`),
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.array(fc.nat(400), { maxLength: 8 }),
        (pieces, cuts) => {
          const whole = Buffer.from(pieces.join(""), "latin1");
          const at = [...new Set(cuts.filter((cut) => cut < whole.length))].sort((a, b) => a - b);
          const chunks = [0, ...at].map((from, i) => whole.subarray(from, at[i] ?? whole.length));
          expect(split(chunks)).toEqual(split([whole]));
        },
      ),
    );
  });
});
