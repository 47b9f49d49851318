/** Exports of stored executions: what is in them, in which order, and what becomes of what cannot be read. */

import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SqliteStore } from "../../src/adapters/sqlite/index.ts";
import { ExportQuery } from "../../src/contract/api.ts";
import { LIMITS } from "../../src/contract/limits.ts";
import type { Artifact, ExecutionRecord } from "../../src/contract/records.ts";
import { Artifacts, exportHistory } from "../../src/memory/index.ts";
import type { StoredSession, StoredTimeline } from "../../src/memory/ports/store.ts";
import { anExecution, aRecord, aSession } from "../contracts/samples.ts";
import { temporaryFolder } from "../support/home.ts";
import { checkNotebook, type Output } from "../support/notebook.ts";

let folder: string;
let store: SqliteStore;
let artifacts: Artifacts;
let session: StoredSession;
let head: string | null;

beforeEach(async () => {
  folder = temporaryFolder();
  store = new SqliteStore({ file: path.join(folder, "history.db") });
  artifacts = new Artifacts(path.join(folder, "artifacts"));
  await Promise.all([store.start(), artifacts.start()]);
  session = aSession();
  head = null;
  await store.createSession(session);
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

/** An execution that begins with the state after the head; the head afterwards is its own, unless it is given. */
async function execute(
  code: string,
  fields: Partial<ExecutionRecord> | ((id: string) => Promise<Partial<ExecutionRecord>>) = {},
  timeline: StoredTimeline = [],
  next?: string | null,
): Promise<string> {
  const execution = anExecution(session, { code });
  await store.accept(execution);
  const given = typeof fields === "function" ? await fields(execution.id) : fields;
  const record = aRecord(execution, { parent: head, ...given });
  head = next === undefined ? execution.id : next;
  await store.finish({ record, epoch: session.epoch, timeline, head });
  return execution.id;
}

async function artifact(
  id: string,
  number: number,
  content: Buffer,
  fields: Pick<Artifact, "mime" | "source"> & Partial<Artifact>,
): Promise<Artifact> {
  const stored = await artifacts.put(content, false);
  const uri = `execute-code://executions/${id}/artifacts/${number}`;
  return { uri, number, ...stored, display: null, ...fields };
}

async function exported(query: Partial<ExportQuery> = {}, ref = session.id): Promise<string> {
  const { source } = await exportHistory(store, artifacts, ref, ExportQuery.parse(query));
  if (!("stream" in source)) throw new Error("an export is a stream");
  return await text(source.stream);
}

async function cells(query: Partial<ExportQuery> = {}) {
  return checkNotebook(await exported({ ...query, format: "ipynb" })).cells;
}

const outputsOf = async (): Promise<Output[]> => (await cells()).at(-1)!.outputs;
const PNG = Buffer.from("89504e470d0a1a0a00", "hex");

describe("a notebook", () => {
  test("has a cell for each execution, with its facts", async () => {
    const first = await execute("a = 1\nb = 2\n", { revision: 1 });
    const second = await execute("1/0", {
      revision: 2,
      status: "error",
      error: {
        type: "ZeroDivisionError",
        message: "by zero",
        traceback: "Traceback\n  x\n",
        line: 1,
        column: 1,
        frames: [],
      },
    });
    const notebook = checkNotebook(await exported());
    expect(notebook.metadata).toMatchObject({
      kernelspec: { name: "python3", language: "python" },
      language_info: { name: "python" },
      execute_code: { session: "main", session_id: session.id, line: "current" },
    });
    expect(notebook.cells).toEqual([
      {
        cell_type: "code",
        id: first,
        execution_count: 1,
        source: ["a = 1\n", "b = 2\n"],
        outputs: [],
        metadata: {
          execute_code: expect.objectContaining({ id: first, status: "ok", duration_ms: 4.25, parent: null }),
          execution: expect.objectContaining({
            "iopub.execute_input": "2026-11-22T09:00:01.000Z",
            "shell.execute_reply": "2026-11-22T09:00:01.004Z",
          }),
        },
      },
      expect.objectContaining({
        id: second,
        execution_count: 2,
        outputs: [
          {
            output_type: "error",
            ename: "ZeroDivisionError",
            evalue: "by zero",
            traceback: ["Traceback", "  x"],
          },
        ],
        metadata: expect.objectContaining({
          tags: ["raises-exception"],
          execute_code: expect.objectContaining({ status: "error", parent: first }),
        }),
      }),
    ]);
  });

  test("without a cell is one, too", async () => {
    expect(await cells()).toEqual([]);
  });

  test("tells streams, displays and answers in the order in which they came, then the result", async () => {
    await execute(
      "…",
      {
        stdout: "one\nname? two\n",
        stderr: "wrong",
        displays: [
          {
            display_id: null,
            update: false,
            mime: { "text/plain": "shown", "application/json": { a: [1] } },
          },
        ],
        inputs: [{ prompt: "name? ", password: false, answer: "Ada" }],
        result: { text: "42", mime: { "text/html": "<b>42</b>" } },
      },
      [
        ["a", 1],
        ["o", 4],
        ["d", 1],
        ["e", 5],
        ["p", 2],
        ["o", 6],
        ["i", 1],
        ["o", 4],
        ["x", 1],
      ],
    );
    expect(await outputsOf()).toEqual([
      { output_type: "stream", name: "stdout", text: ["one\n"] },
      {
        output_type: "display_data",
        data: { "text/plain": ["shown"], "application/json": { a: [1] } },
        metadata: {},
      },
      { output_type: "stream", name: "stderr", text: ["wrong"] },
      { output_type: "stream", name: "stdout", text: ["name? "] },
      { output_type: "stream", name: "stdin", text: ["Ada\n"] },
      { output_type: "stream", name: "stdout", text: ["two\n"] },
      {
        output_type: "execute_result",
        execution_count: 1,
        data: { "text/html": ["<b>42</b>"], "text/plain": ["42"] },
        metadata: {},
      },
    ]);
  });

  test("cuts no character where streams alternate, and tells what the timeline does not", async () => {
    await execute(
      "…",
      { stdout: "é평!", stderr: "e", displays: [{ display_id: null, update: false, mime: {} }] },
      [
        ["o", 1],
        ["e", 1],
        ["o", 2],
      ],
    );
    const outputs = await outputsOf();
    const told = outputs.filter((one) => one.name === "stdout").flatMap((one) => one.text ?? []);
    expect(told.join("")).toBe("é평!");
    expect(outputs.at(-1)).toMatchObject({ output_type: "display_data", data: { "text/plain": [] } });
  });

  test("shows a display as it was at last, in its first place", async () => {
    const display = (id: string | null, update: boolean, shown: string) => ({
      display_id: id,
      update,
      mime: { "text/plain": shown },
    });
    await execute(
      "…",
      {
        displays: [
          display("a", false, "a1"),
          display(null, false, "b"),
          display("a", true, "a2"),
          display("earlier", true, "c1"),
          display("earlier", true, "c2"),
          display("a", false, "a3"),
        ],
      },
      [["d", 6]],
    );
    const shown = (await outputsOf()).map((one) => one.data?.["text/plain"]);
    expect(shown).toEqual([["a3"], ["b"], ["c2"], ["a3"]]);
  });

  test("has artifacts in it: images as base64, large texts and JSON as they are", async () => {
    await execute("…", async (id) => ({
      displays: [{ display_id: null, update: false, mime: { "text/plain": "<Figure>" } }],
      result: { text: "t", mime: { "text/plain": "t" } },
      artifacts: [
        await artifact(id, 1, PNG, { mime: "image/png", source: "display", display: 0 }),
        await artifact(id, 2, Buffer.from("<p>\n</p>"), { mime: "text/html", source: "result" }),
        await artifact(id, 3, Buffer.from('{"a":[1]}'), {
          mime: "application/vnd.vega.v5+json",
          source: "result",
        }),
      ],
    }));
    const [display, result] = await outputsOf();
    expect(display?.data).toEqual({ "text/plain": ["<Figure>"], "image/png": PNG.toString("base64") });
    expect(result?.data).toMatchObject({
      "text/html": ["<p>\n", "</p>"],
      "application/vnd.vega.v5+json": { a: [1] },
    });
    const [cell] = await cells({ images: "omit" });
    expect(cell?.outputs[0]).toMatchObject({
      data: { "text/plain": ["<Figure>"] },
      metadata: {
        execute_code: { left_out: [expect.stringMatching(/^image\/png, 9 bytes, is left out: .*\/1$/)] },
      },
    });
  });

  test("says so where an artifact is gone", async () => {
    await execute("…", async (id) => {
      const gone = await artifact(id, 1, PNG, { mime: "image/png", source: "display", display: 0 });
      const stream = await artifact(id, 2, Buffer.from("all of it"), {
        mime: "text/plain",
        source: "stdout",
      });
      for (const one of [gone, stream]) rmSync(artifacts.place(one.sha256));
      return {
        stdout: "a part",
        displays: [{ display_id: null, update: false, mime: {} }],
        artifacts: [gone, stream],
      };
    });
    const [stream, display] = await outputsOf();
    expect(stream?.text?.join("")).toMatch(/^a part\n… execute-code:.*\/stdout cannot be read: ENOENT/);
    expect(display?.data["text/plain"]?.join("")).toMatch(/^image\/png, 9 bytes, cannot be read \(ENOENT/);
  });

  test("has head and tail of a long stream, cut between characters, around a line that says so", async () => {
    const all = Buffer.from(`${"é".repeat(150_000)}!${"평".repeat(100_000)}`);
    await execute(
      "…",
      async (id) => ({
        stdout: "not used",
        truncated: { stdout_bytes: 333_333, stderr_bytes: 0 },
        artifacts: [await artifact(id, 1, all, { mime: "text/plain", source: "stdout" })],
      }),
      [
        ["o", 100_001],
        ["e", 0],
        ["o", all.length - 100_001],
      ],
    );
    const told = (await outputsOf()).flatMap((one) => one.text ?? []).join("");
    expect(told).toMatch(/^é+\n… 333333 bytes left out; .*\/stdout …\n평+$/);
    const { inlineHeadBytes, inlineTailBytes } = LIMITS;
    const kept = Buffer.byteLength(told) - Buffer.byteLength(told.replaceAll(/[é평]/g, ""));
    expect(kept).toBeGreaterThan(inlineHeadBytes + inlineTailBytes - 6);
    expect(kept).toBeLessThanOrEqual(inlineHeadBytes + inlineTailBytes);
  });

  test("tells late output with the execution that it belongs to, and with no other", async () => {
    const first = await execute("start()");
    await store.appendLate([{ execution: first, stream: "stdout", text: "late\n" }], session.epoch);
    await execute("2", { late: [{ execution: first, stream: "stdout", text: "late\n" }] });
    const [one, two] = await cells();
    expect(one?.outputs).toEqual([{ output_type: "stream", name: "stdout", text: ["late\n"] }]);
    expect(two?.outputs).toEqual([]);
  });

  test("is well-formed whatever was put out", async () => {
    const odd = "\ud800 \0 \u001b[31m \u2028 \udfff";
    await execute(odd, {
      stdout: odd,
      result: { text: odd, mime: { "text/plain": odd } },
      error: { type: odd, message: odd, traceback: odd, line: null, column: null, frames: [] },
      status: "error",
    });
    for (const format of ["ipynb", "md", "py", "jsonl"] as const) {
      const told = await exported({ format });
      expect(told.isWellFormed()).toBe(true);
      expect(told).not.toContain("\ufffd\ufffd\ufffd");
    }
    await cells();
  });
});

describe("the executions", () => {
  test("are those of the current line, or all with the abandoned ones marked", async () => {
    const first = await execute("a = 1");
    const abandoned = await execute("a = 2", {}, [], first);
    const crashed = await execute("crash()", { status: "crashed" }, [], first);
    const last = await execute("a = 3");
    expect((await cells()).map(({ id }) => id)).toEqual([first, last]);
    const all = await cells({ line: "all" });
    expect(all.map(({ id }) => id)).toEqual([first, abandoned, crashed, last]);
    expect(all.map(({ metadata }) => metadata.execute_code?.abandoned === true)).toEqual([
      false,
      true,
      true,
      false,
    ]);
    const script = await exported({ format: "py", line: "all" });
    expect(script).toContain("\na = 1\n");
    expect(script).toContain("\n# a = 2\n");
    expect(script).toContain("\n# crash()\n");
    expect(await exported({ format: "md", line: "all" })).toContain("on an abandoned line");
    expect((await exported({ format: "md" })).match(/^## /gm)).toHaveLength(2);
  });

  test("of a fork are its parent's up to where it was forked, also when both are closed", async () => {
    const first = await execute("a = 1");
    const parent = session;
    await execute("b = 2");
    session = aSession({
      name: "what-if",
      head: first,
      forked_from: { session: "main", session_id: parent.id, revision: 1, execution: first },
    });
    await store.createSession(session);
    head = first;
    const theirs = await execute("c = 3");
    const lost = await execute("d = 4", {}, [], theirs);
    for (const one of [parent, session]) await store.closeSession(one.id, 1, "2026-11-22T10:00:00.000Z");
    expect((await cells()).map(({ id }) => id)).toEqual([first, theirs]);
    expect((await cells({ line: "all" })).map(({ id }) => id)).toEqual([first, theirs, lost]);
    expect(await exported({ format: "jsonl" }, "what-if")).toContain(theirs);
  });

  test("are read in pages to the end, and no further than they are wanted", async () => {
    const ids: string[] = [];
    for (let count = 0; count < 50; count++) ids.push(await execute(`x = ${count}`));
    for (const line of ["current", "all"] as const) {
      const records = (await exported({ format: "jsonl", line })).trimEnd().split("\n");
      expect(records.map((one) => (JSON.parse(one) as ExecutionRecord).id)).toEqual(ids);
    }
    const { source, bytes } = await exportHistory(store, artifacts, "main", ExportQuery.parse({}));
    expect(bytes).toBeNull();
    if ("stream" in source) source.stream.destroy();
  });

  test("of no session are refused", async () => {
    await expect(exported({}, "absent")).rejects.toMatchObject({ code: "unknown_session" });
  });
});

test("JSON lines are the records as they are stored", async () => {
  const id = await execute("x", { stdout: "a\u2028b\n" });
  const lines = (await exported({ format: "jsonl" })).trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([(await store.getExecution(id))?.record]);
});

describe("Markdown", () => {
  test("has code and output in fences that are longer than any inside", async () => {
    const id = await execute("s = '''\n````\n'''", {
      stdout: "\u001b[31mred\u001b[0m ```",
      result: { text: "x", mime: { "text/markdown": "**bold**", "text/plain": "x" } },
    });
    expect(await exported({ format: "md" })).toBe(
      [
        "# Session main",
        "",
        "The executions of its current line, oldest first.",
        "",
        `## 1 · ${id} · ok · 4 ms · 2026-11-22T09:00:01.000Z`,
        "",
        "`````python",
        "s = '''",
        "````",
        "'''",
        "`````",
        "",
        "````text",
        "red ```",
        "````",
        "",
        "result:",
        "",
        "**bold**",
        "",
      ].join("\n"),
    );
  });

  test("has images as data, or a note in their place", async () => {
    await execute("plot()", async (id) => ({
      displays: [
        { display_id: null, update: false, mime: { "text/plain": "<Figure>" } },
        { display_id: null, update: false, mime: { "image/svg+xml": "<svg/>" } },
        { display_id: null, update: false, mime: { "application/json": [1] } },
      ],
      artifacts: [await artifact(id, 1, PNG, { mime: "image/png", source: "display", display: 0 })],
    }));
    const told = await exported({ format: "md" });
    expect(told).toContain(`![image/png](data:image/png;base64,${PNG.toString("base64")})`);
    expect(told).toContain("![image/svg+xml](data:image/svg+xml;base64,PHN2Zy8+)");
    expect(told).toContain("```json\n[\n  1\n]\n```");
    const without = await exported({ format: "md", images: "omit" });
    expect(without).not.toContain("base64");
    expect(without).toMatch(/\*image\/png, 9 bytes, is left out: .*\*\n\n```text\n<Figure>/);
    expect(without).toContain("*image/svg+xml is left out");
  });
});

describe("a script", () => {
  const failed = (type: string): Partial<ExecutionRecord> => ({
    status: "error",
    error: { type, message: "m", traceback: "", line: 1, column: 1, frames: [] },
  });

  async function script(): Promise<string> {
    return await exported({ format: "py" });
  }

  /** What the script prints. */
  async function run(): Promise<string> {
    const file = await script();
    const { stdout, stderr, status } = spawnSync("python3", ["-"], { input: file, encoding: "utf8" });
    expect({ status, stderr: status === 0 ? "" : stderr }, file).toEqual({ status: 0, stderr: "" });
    return stdout;
  }

  test("does again what the session did, over cells that failed", async () => {
    await execute("from __future__ import annotations\nimport sys");
    await execute('x = """\n%not magic\n"""\nif x:\n  y = 1\n  raise ValueError(x)', failed("ValueError"));
    await execute("sys.exit(3)", failed("SystemExit"));
    await execute("def (", failed("SyntaxError"));
    await execute("while True: pass", { status: "timed_out" });
    await execute("from __future__ import division\ndef f(a: Unknown): return (\n  a / 2)");
    await execute("print(repr(x), y, f(1))\ndisplay(y)\n");
    expect(await run()).toBe(`'\\n%not magic\\n' 1 0.5\n1\n`);
  });

  test("has magics as comments, in blocks, too", async () => {
    await execute(
      "%matplotlib inline\n!ls \\\n  -l\nnumbers?\n?len\npip install pandas\nfiles = !ls 'it''s'\ny = %pwd",
    );
    await execute(
      "if True:\n    !echo in a block\n    z = 1 % 2\nelse:\n\t%cd /\nprint(z, 'no %magic ! here') # !not",
    );
    await execute("%time t = sum([1, 2])\nprint(t)");
    await execute("w = 1\n%%bash\nrm -rf it's\n");
    await execute("%%time\nq = 5 != 6");
    await execute("%%timeit -n 1\nprint('not again')");
    await execute("print(w, q, 5\n  % 3, [n\n  for n in 'ab'], f\"{w}\")");
    expect(await run()).toBe("1 no %magic ! here\n3\n1 True 2 ['a', 'b'] 1\n");
    expect(await script()).toContain("    pass  # !echo in a block\n");
  });

  test("awaits at the top level, as sessions do", async () => {
    await execute("import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x\n%pwd");
    await execute("a = await f('''it\\'s\\n''')\nasync for b in g(): pass", failed("NameError"));
    await execute("async def g():\n    await f(1)\n# await\ns = 'await'");
    await execute("%%bash\nawait x");
    await execute("async with asyncio.Lock() as lock:\n    print(a, await f(s))");
    expect(await run()).toBe("it's\n await\n");
    expect((await script()).match(/^ *_run_awaiting/gm)).toHaveLength(2);
  });

  test("imports from `__future__` once, at the top", async () => {
    await execute("from __future__ import (\n  annotations, # why\n  division as d,\n); x = 1");
    await execute("from __future__ import nothing\nprint(x)", failed("SyntaxError"));
    await execute("from __future__ import annotations; print(x)\ndef f(a: Unknown): ...\nprint(x)");
    expect(await run()).toBe("1\n1\n");
    expect((await script()).match(/^from __future__ import .*$/gm)).toEqual([
      "from __future__ import annotations, division",
    ]);
  });

  test("of cells with every kind of line end, string and comment compiles", async () => {
    await execute("a = 'x\\\n  y'\r\nb = r'\\\\'\r\nc = \"it's\" # ' \"\rd = '''a\n'b''' + rb'\\n'.decode()");
    await execute("e = [\n  1, # (\n  2,\n]\nf = a if a else \\\n  b");
    await execute("# nothing but a comment", failed("KeyError"));
    await execute("print(len(d), e, f)");
    expect(await run()).toBe("6 [1, 2] x  y\n");
  });
});
