/** The shared vectors of the kernel protocol, from TypeScript's side. Python's is test_vectors.py. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  KernelFrame,
  KernelRequest,
  SupervisorCommand,
  SupervisorReport,
} from "../../src/contract/frames.ts";
import { encodeFrame, FrameError, FrameReader } from "../../src/execution/kernel/frames.ts";

const Vectors = z.object({
  frames: z.array(
    z.object({
      channel: z.enum(["control", "kernel"]),
      direction: z.enum(["from_daemon", "to_daemon"]),
      name: z.string(),
      frame: z.unknown(),
      valid: z.boolean(),
    }),
  ),
  bytes: z.array(
    z.object({ name: z.string(), hex: z.string(), frames: z.array(z.unknown()), error: z.boolean() }),
  ),
});
const file = path.join(import.meta.dirname, "vectors.json");
const { frames, bytes } = Vectors.parse(JSON.parse(readFileSync(file, "utf8")));

const SCHEMAS = {
  control: { from_daemon: SupervisorCommand, to_daemon: SupervisorReport },
  kernel: { from_daemon: KernelRequest, to_daemon: KernelFrame },
} as const;

describe("frames", () => {
  test("every type of the contract has valid and invalid vectors", () => {
    for (const [channel, directions] of Object.entries(SCHEMAS)) {
      for (const [direction, schema] of Object.entries(directions)) {
        const here = frames.filter((one) => one.channel === channel && one.direction === direction);
        for (const option of schema.options) {
          const type = option.shape.type.value;
          expect(
            here.some((one) => one.valid && (one.frame as { type?: string }).type === type),
            type,
          ).toBe(true);
        }
        expect(here.some((one) => !one.valid)).toBe(true);
      }
    }
  });

  test.each(frames)("$channel $direction: $name", ({ channel, direction, frame, valid }) => {
    expect(SCHEMAS[channel][direction].safeParse(frame).success).toBe(valid);
    if (valid) expect(new FrameReader().push(encodeFrame(frame as object))).toEqual([frame]);
  });
});

describe("bytes", () => {
  test.each(bytes)("$name", ({ hex, frames: expected, error }) => {
    const data = Buffer.from(hex, "hex");
    if (error) {
      expect(() => new FrameReader().push(data)).toThrow(FrameError);
      return;
    }
    expect(new FrameReader().push(data)).toEqual(expected);
    const reader = new FrameReader();
    expect([...data].flatMap((byte) => reader.push(Buffer.from([byte])))).toEqual(expected);
  });
});
