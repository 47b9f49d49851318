import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatDuration, parseDuration, parseInstant } from "../../src/sdk/index.ts";

describe("durations", () => {
  test.each([
    ["500ms", 500],
    ["30s", 30_000],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["7d", 604_800_000],
    ["1.5m", 90_000],
    [".5s", 500],
    ["30", 30_000],
    ["0.25", 250],
    [" 2 s ", 2_000],
    ["0", 0],
  ])("%s", (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  test.each([
    "",
    "s",
    "-1s",
    "1w",
    "1s2",
    "1m30s",
    "NaN",
    "Infinity",
    "1e3",
    "0x10",
    "٣s",
    `${"9".repeat(20)}d`,
  ])("%j is none", (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  test("every whole number with a unit is read exactly", () => {
    const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
    fc.assert(
      fc.property(fc.nat(100_000), fc.constantFrom("ms", "s", "m", "h"), (count, unit) => {
        expect(parseDuration(`${count}${unit}`)).toBe(count * units[unit]);
      }),
    );
  });

  test("any text is read as a safe number or refused", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const milliseconds = parseDuration(text);
        expect(milliseconds === null || (Number.isSafeInteger(milliseconds) && milliseconds >= 0)).toBe(true);
      }),
    );
  });

  test.each([
    [0.4, "0 ms"],
    [42.4, "42 ms"],
    [1_540, "1.5 s"],
    [59_999, "59.9 s"],
    [125_000, "2 m 5 s"],
  ])("%d is written %s", (milliseconds, text) => {
    expect(formatDuration(milliseconds)).toBe(text);
  });
});

describe("instants", () => {
  const now = Date.parse("2026-11-22T09:00:00.000Z");
  test.each([
    ["2h", "2026-11-22T07:00:00.000Z"],
    ["7d", "2026-11-15T09:00:00.000Z"],
    ["2026-11-01", "2026-11-01T00:00:00.000Z"],
    ["2026-11-01T10:00:00+02:00", "2026-11-01T08:00:00.000Z"],
  ])("%s", (text, instant) => {
    expect(parseInstant(text, now)).toBe(instant);
  });

  test.each(["", "yesterday", "2026-13-01", "1 January"])("%j is none", (text) => {
    expect(parseInstant(text, now)).toBeNull();
  });

  test("an age beyond the calendar is none", () => {
    expect(parseInstant("100000000d", now)).toBeNull();
  });
});
