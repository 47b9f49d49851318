import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ExecutionEvent } from "../../src/contract/events.ts";
import { LIMITS } from "../../src/contract/limits.ts";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import { boundedText, Spool, Timeline, Transcript } from "../../src/execution/index.ts";

let files = 0;
const spool = (): Spool =>
  new Spool(path.join(tmpdir(), `ec-spool-${process.pid}-${++files}`), LIMITS.spoolBytes);

function newTranscript(): {
  transcript: Transcript;
  write: (kind: "o" | "e", bytes: Buffer) => void;
  close: () => void;
} {
  const streams = { o: spool(), e: spool() };
  const transcript = new Transcript({ id: "exec_1", session: "main", stdout: streams.o, stderr: streams.e });
  return {
    transcript,
    write: (kind, bytes) => transcript.appendOutput(kind, streams[kind].append(bytes)),
    close: () => {
      streams.o.close();
      streams.e.close();
    },
  };
}

async function collect(transcript: Transcript, offset = 0): Promise<ExecutionEvent[]> {
  const events: ExecutionEvent[] = [];
  for await (const event of transcript.follow(offset)) events.push(event);
  return events;
}

const record = { id: "exec_1" } as ExecutionRecord;
const text = (events: ExecutionEvent[], type: "stdout" | "stderr"): string =>
  events.map((event) => (event.type === type ? event.text : "")).join("");

describe("a transcript", () => {
  test("gives events in order, with offsets that count bytes", async () => {
    const { transcript, write, close } = newTranscript();
    transcript.appendAccepted();
    write("o", Buffer.from("one\n"));
    write("e", Buffer.from("가\n"));
    transcript.appendDisplay({ display_id: null, update: false, mime: { "text/plain": "x" } });
    write("o", Buffer.from("two\n"));
    expect(transcript.endOffset).toBe(15);
    transcript.end(record);
    const events = await collect(transcript);
    expect(events.map((event) => [event.type, event.offset])).toEqual([
      ["accepted", 1],
      ["stdout", 5],
      ["stderr", 9],
      ["display", 10],
      ["stdout", 14],
      ["end", 15],
    ]);
    close();
  });

  test("is followed while it grows, and ends its readers", async () => {
    const { transcript, write, close } = newTranscript();
    const events = collect(transcript);
    const aborted = new AbortController();
    const stopped = (async () => {
      for await (const event of transcript.follow(0, aborted.signal))
        if (event.type === "stdout") aborted.abort();
    })();
    write("o", Buffer.from("a"));
    await stopped;
    write("o", Buffer.from("b"));
    transcript.end(record);
    expect(text(await events, "stdout")).toBe("ab");
    close();
  });

  test("resumes at every offset it gave, and loses and repeats nothing", async () => {
    const piece = fc.tuple(
      fc.constantFrom("o" as const, "e" as const),
      fc.string({ unit: "grapheme", maxLength: 12 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 10 }), async (pieces) => {
        const { transcript, write, close } = newTranscript();
        for (const [kind, content] of pieces) write(kind, Buffer.from(content));
        transcript.end(record);
        const whole = await collect(transcript);
        for (const [i, event] of whole.entries()) {
          expect(await collect(transcript, event.offset)).toEqual(whole.slice(i + 1));
        }
        expect(text(whole, "stdout")).toBe(
          pieces.map(([kind, content]) => (kind === "o" ? content : "")).join(""),
        );
        close();
      }),
      { numRuns: 50 },
    );
  });

  test("holds an incomplete character back until its rest has come", async () => {
    const { transcript, write, close } = newTranscript();
    const [first, rest] = [Buffer.from("가").subarray(0, 1), Buffer.from("가").subarray(1)];
    write("o", first);
    const early = transcript.follow(0).next();
    expect(await Promise.race([early, Promise.resolve("nothing yet")])).toBe("nothing yet");
    write("o", rest);
    expect((await early).value).toMatchObject({ type: "stdout", text: "가" });
    transcript.end(record);
    expect(text(await collect(transcript), "stdout")).toBe("가");
    close();
  });

  test("passes bytes on that are no UTF-8, with replacement characters", async () => {
    const { transcript, write, close } = newTranscript();
    write("o", Buffer.from([0x61, 0xff, 0xfe, 0x62, 0xe3]));
    transcript.end(record);
    expect(text(await collect(transcript), "stdout")).toBe("a\ufffd\ufffdb\ufffd");
    close();
  });
});

describe("a spool", () => {
  test("keeps the same bytes and digest in memory and in a file", () => {
    const chunk = Buffer.alloc(100_000, "x");
    const small = spool();
    small.append(Buffer.from("hello"));
    expect(small.file(false)).toBeNull();
    expect(small.digest()).toBe("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    const large = spool();
    for (let i = 0; i < 5; i++) large.append(chunk);
    expect(large.bytes).toBe(500_000);
    expect(large.file(true)).not.toBeNull();
    expect(large.read(499_990, 600_000).toString()).toBe("x".repeat(10));
    small.close();
    large.close();
  });

  test("counts what exceeds its bound, and keeps what came before", () => {
    const large = spool();
    const chunk = Buffer.alloc(8 * 1024 * 1024, "y");
    for (let bytes = 0; bytes < LIMITS.spoolBytes; bytes += chunk.length)
      expect(large.append(chunk)).toBe(chunk.length);
    expect(large.append(Buffer.from("more"))).toBe(0);
    expect([large.bytes, large.dropped]).toEqual([LIMITS.spoolBytes, 4]);
    large.close();
  });
});

describe("bounded text", () => {
  test("keeps head and tail, whole characters, and counts what is between", () => {
    const source = spool();
    source.append(Buffer.from("가".repeat(100)));
    const { text: shown, omitted } = boundedText(source, 10, 10);
    expect(shown.startsWith("가가가\n")).toBe(true);
    expect(shown.endsWith("\n가가가")).toBe(true);
    expect(omitted).toBe(300 - 18);
    source.close();
  });
});

describe("a timeline", () => {
  test("comes back from its runs", () => {
    const timeline = Timeline.from([
      ["a", 1],
      ["o", 5],
      ["e", 2],
      ["o", 3],
      ["x", 1],
    ]);
    expect(timeline.end).toBe(12);
    expect(timeline.at(8)).toEqual({ kind: "o", start: 8, ordinal: 5, count: 3 });
    expect(timeline.at(12)).toBeNull();
    expect(Timeline.from(timeline.runs()).runs()).toEqual(timeline.runs());
  });
});
