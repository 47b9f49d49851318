import { isUtf8 } from "node:buffer";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, firstInvalidByte } from "../../src/cli/source.ts";
import { displayWidth, oneLine } from "../../src/cli/terminal.ts";

describe("decode", () => {
  test("takes a byte order mark for what it is", () => {
    expect(decode(Buffer.from("\ufeffprint(1)"), "f")).toBe("print(1)");
    expect(decode(Buffer.from("a\ufeffb"), "f")).toBe("a\ufeffb");
  });

  test("gives back any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        fc.pre(!text.startsWith("\ufeff"));
        expect(decode(Buffer.from(text), "f")).toBe(text);
      }),
    );
  });

  test.each([
    [[0x61, 0x3d, 0xff], 2],
    [[0x61, 0xc3], 1],
    [[0xe2, 0x82, 0x28], 0],
    [[0x61, 0xed, 0xa0, 0x80], 1],
    [[0xf0, 0x9f, 0x99, 0x82, 0xf0, 0x9f], 4],
    [[0xc0, 0xaf], 0],
  ])("names the first wrong byte of %j", (bytes, offset) => {
    expect(firstInvalidByte(Uint8Array.from(bytes))).toBe(offset);
    expect(() => decode(Buffer.from(bytes), "f")).toThrow(
      expect.objectContaining({ code: "invalid_encoding", details: { offset } }),
    );
  });

  test("finds a wrong byte exactly where there is one, and all before it is right", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc
        .tuple(fc.string({ unit: "grapheme" }), fc.uint8Array({ maxLength: 3 }))
        .map(([text, wrong]) => Buffer.concat([Buffer.from(text), wrong, Buffer.from(text)])),
    );
    fc.assert(
      fc.property(bytes, (given) => {
        const offset = firstInvalidByte(given);
        expect(offset === -1).toBe(isUtf8(given));
        if (offset >= 0) expect(isUtf8(given.subarray(0, offset))).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("one line of a terminal", () => {
  test("has no control characters and no more than its length", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 50 }), (text, length) => {
        const line = oneLine(text, length);
        expect(line).not.toMatch(/\p{Cc}/u);
        expect(line.length).toBeLessThanOrEqual(length);
        expect(line.isWellFormed() || !text.isWellFormed()).toBe(true);
      }),
    );
  });

  test("wide characters take two columns", () => {
    expect(displayWidth("abc")).toBe(3);
    expect(displayWidth("한국어")).toBe(6);
    expect(displayWidth("日本")).toBe(4);
    expect(displayWidth("🙂")).toBe(2);
    expect(displayWidth("é")).toBe(1);
  });
});
