import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clean, Gathering, headAndTail, shareRoom } from "../../src/mcp/text.ts";

describe("clean", () => {
  test.each([
    ["colours", "\u001b[1;31mred\u001b[0m", "red"],
    ["cursor moves", "a\u001b[2K\u001b[1Gb", "ab"],
    ["a hyperlink", "\u001b]8;;http://x\u001b\\text\u001b]8;;\u001b\\", "text"],
    ["a window title", "\u001b]0;title\u0007x", "x"],
    ["an unended string keeps what follows", "\u001b]0;title\nnext", "0;title\nnext"],
    ["one-byte CSI", "\u009b31mred", "red"],
    ["charset switches", "\u001b(Bx", "x"],
    ["control characters", "a\u0000\u0008\u007fb\tc\n", "ab\tc\n"],
    ["line ends", "a\r\nb\rc\u2028d", "a\nb\nc\nd"],
    ["bidirectional controls", "\u202eabc\u202c \u2066x\u2069\u200f", "abc x"],
    [
      "tag characters",
      `hi${String.fromCodePoint(...Array.from(Buffer.from("ignore"), (byte) => 0xe0000 + byte))}`,
      "hi",
    ],
    ["zero-width characters", "p\u200ba\u2060s\ufeffs\u00ad", "pass"],
    ["joiners between Latin letters", "a\u200db\u200cc", "abc"],
    ["runs of variation selectors", "a\ufe00\ufe01\ufe02\u{e0101}", "a\ufe00"],
    ["blank fillers", "a\u3164b\uffa0", "ab"],
    ["half a surrogate pair", "a\ud83d", "a\ufffd"],
  ])("%s", (_, given, expected) => {
    expect(clean(given)).toBe(expected);
  });

  test.each([
    ["Korean", "안녕하세요, 세계! 값이 없습니다."],
    ["Korean in jamo", "한글".normalize("NFD")],
    ["Japanese and Chinese", "日本語テスト 中文测试"],
    ["a family", "👨‍👩‍👧‍👦"],
    ["skin tones and hearts", "👍🏽 ❤️ 🏳️‍🌈 🧑🏻‍💻"],
    ["flags and keycaps", "🇰🇷 1️⃣"],
    ["Persian with a non-joiner", "می‌خواهم"],
    ["Hindi with a joiner", "क्‍ष"],
    ["Arabic", "مرحبا بالعالم"],
    ["accents", "e\u0301 é ñ"],
    ["box drawing", "├── src\n└── tests"],
  ])("%s stays", (_, text) => {
    expect(clean(text)).toBe(text);
  });

  test("leaves nothing invisible behind, and nothing more to strip", () => {
    const risky = fc.string({
      unit: fc.oneof(
        fc.constantFrom(
          "\u001b",
          "[",
          "]",
          "\u0007",
          "\u200d",
          "\u200c",
          "\u202e",
          "\u{e0041}",
          "\r",
          "🙂",
          "가",
          "a",
          "\n",
          "m",
          ";",
          "\\",
        ),
        fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
      ),
      maxLength: 40,
    });
    fc.assert(
      fc.property(risky, (text) => {
        const cleaned = clean(text);
        expect(cleaned).not.toMatch(
          /(?![\t\n])\p{Cc}|[\u202a-\u202e\u2066-\u2069\u200b\ufeff]|[\u{e0000}-\u{e0fff}]/u,
        );
        expect(cleaned.isWellFormed()).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("printable ASCII stays as it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii" }), (text) => {
        expect(clean(text)).toBe(text);
      }),
    );
  });
});

describe("head and tail", () => {
  const marker = /… (\d+) bytes left out …\n/;

  test("a short text stays", () => {
    expect(headAndTail("abc", 3)).toEqual({ text: "abc", omitted: 0 });
  });

  test("a cut falls on the end of a line where one is near", () => {
    const text = Array.from({ length: 1_000 }, (_, line) => `line ${line}`).join("\n");
    const cut = headAndTail(text, 1_000);
    const lines = cut.text.split("\n");
    for (const line of lines) expect(line).toMatch(/^line \d+$|^… \d+ bytes left out …$/);
    expect(lines[0]).toBe("line 0");
    expect(lines.at(-1)).toBe("line 999");
  });

  test("no character is split, and the figure tells what is left out", () => {
    const text = fc.string({
      unit: fc.oneof(
        fc.constantFrom("👨‍👩‍👧‍👦", "🇰🇷", "각", "각".normalize("NFD"), "e\u0301", "\n", "ab"),
        fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }),
      ),
      maxLength: 300,
    });
    const segmenter = new Intl.Segmenter();
    fc.assert(
      fc.property(text, fc.integer({ min: 20, max: 200 }), (given, room) => {
        const cut = headAndTail(given, room);
        if (given.length <= room) {
          expect(cut).toEqual({ text: given, omitted: 0 });
          return;
        }
        const found = marker.exec(cut.text);
        expect(Number(found?.[1])).toBe(cut.omitted);
        const tail = cut.text.slice((found?.index ?? 0) + (found?.[0].length ?? 0));
        const before = cut.text.slice(0, found?.index);
        // The line end before the marker may be the text's own or the marker's.
        const left = Buffer.byteLength(given) - Buffer.byteLength(tail) - cut.omitted;
        const head = [before, before.slice(0, -1)].find((one) => Buffer.byteLength(one) === left) ?? "?";
        expect(given.startsWith(head)).toBe(true);
        expect(given.endsWith(tail)).toBe(true);
        expect(head.length + tail.length).toBeLessThanOrEqual(room);
        const starts = new Set([...segmenter.segment(given)].map((one) => one.index).concat(given.length));
        expect(starts.has(head.length)).toBe(true);
        expect(starts.has(given.length - tail.length)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test("one long character sequence ends all the same", () => {
    const text = `e${"\u0301".repeat(10_000)}`;
    expect(headAndTail(text, 200).text.isWellFormed()).toBe(true);
    expect(headAndTail("🙂".repeat(10_000), 201).text.isWellFormed()).toBe(true);
  });
});

describe("sharing room", () => {
  test("short parts get what they need, long ones equal parts of the rest", () => {
    expect(shareRoom([10, 1_000, 2_000], 210)).toEqual([10, 100, 100]);
    expect(shareRoom([10, 20], 100)).toEqual([10, 20]);
    expect(shareRoom([], 100)).toEqual([]);
  });

  test("never gives more than there is, nor more than is needed, nor leaves room while there is need", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5_000), { maxLength: 8 }), fc.nat(10_000), (lengths, room) => {
        const shares = shareRoom(lengths, room);
        const sum = shares.reduce((a, b) => a + b, 0);
        expect(sum).toBeLessThanOrEqual(room);
        expect(shares.every((share, index) => share <= (lengths[index] ?? 0))).toBe(true);
        const need = lengths.reduce((a, b) => a + b, 0);
        expect(sum).toBe(Math.min(need, room));
      }),
    );
  });
});

test("a gathering holds head and tail, and counts the rest", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: "grapheme", maxLength: 30 }), { maxLength: 60 }),
      fc.integer({ min: 4, max: 100 }),
      (chunks, room) => {
        const gathering = new Gathering(room);
        for (const chunk of chunks) gathering.add(chunk);
        const { text, omitted } = gathering.end();
        const all = chunks.join("");
        expect(text.length).toBeLessThanOrEqual(3 * room + 40);
        if (omitted === 0) expect(text).toBe(all);
        else {
          const [head = "", tail = ""] = text.split(`\n… ${omitted} bytes left out …\n`);
          expect(all.startsWith(head)).toBe(true);
          expect(all.endsWith(tail)).toBe(true);
          expect(Buffer.byteLength(head) + Buffer.byteLength(tail) + omitted).toBe(Buffer.byteLength(all));
        }
      },
    ),
  );
});
