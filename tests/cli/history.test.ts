/** `history export`, `history --tree`, `history --variable` and `session import`. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TestHome, temporaryFolder, testHome } from "../support/home.ts";
import { execute, type Outcome } from "./program.ts";

let at: TestHome;
let here: string;
let ids: string[];
beforeAll(async () => {
  at = await testHome();
  here = temporaryFolder();
  const run = async (code: string) => (await at.client.execute({ code, session: "demo" })).id;
  ids = [await run("a = [1]"), await run("a.append(2)"), await run("1/0")];
  await at.client.rollback("demo", ids[0]);
  ids.push(await run("b = 2"));
  await at.client.fork("demo", { names: ["what-if"] });
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
  rmSync(here, { recursive: true, force: true });
});

const call = (...args: string[]) => execute(at.home, args);
const json = (outcome: Outcome) => JSON.parse(outcome.stdout) as Record<string, unknown>;
const local = (name: string) => path.join(here, name);

test("history of a session that never was is an error; one that ran nothing of the kind is none", async () => {
  expect(await call("history", "--session", "absent")).toMatchObject({
    status: 2,
    stdout: "",
    stderr: expect.stringContaining("There is no session `absent`"),
  });
  expect(await call("history", "no such code", "--session", "demo")).toMatchObject({
    status: 0,
    stdout: "",
    stderr: "Nothing was found.\n",
  });
});

describe("history export", () => {
  const exported = (...args: string[]) => call("history", "export", "--session", "demo", ...args);

  test("writes to standard output, or to a file whose name tells the format", async () => {
    const script = await exported("--format", "py");
    expect(script).toMatchObject({ status: 0, stderr: "" });
    expect(script.stdout).toMatch(
      /^# Session demo.*\n\n# %% exec_\w+ ok\na = \[1\]\n\n# %% exec_\w+ ok\nb = 2\n$/,
    );
    expect(await exported("-o", local("demo.ipynb"))).toMatchObject({
      status: 0,
      stdout: `${local("demo.ipynb")}\n`,
    });
    expect(JSON.parse(readFileSync(local("demo.ipynb"), "utf8"))).toMatchObject({
      nbformat: 4,
      cells: [{ id: ids[0] }, { id: ids[3] }],
    });
    const again = await exported("-o", local("demo.ipynb"));
    expect(again).toMatchObject({ status: 2, stdout: "" });
    expect(again.stderr).toContain("exists");
    const forced = await exported(
      "-o",
      local("demo.ipynb"),
      "--force",
      "--format",
      "jsonl",
      "--all",
      "--json",
    );
    const file = readFileSync(local("demo.ipynb"), "utf8");
    expect(json(forced)).toEqual({
      session: "demo",
      format: "jsonl",
      file: local("demo.ipynb"),
      bytes: Buffer.byteLength(file),
    });
    expect(file.trimEnd().split("\n")).toHaveLength(4);
  });

  test("says what is wrong with a call", async () => {
    expect(json(await exported("--json"))).toMatchObject({ error: { code: "invalid_request" } });
    expect((await exported("-o", local("demo.doc"))).stderr).toContain("tells no format");
    expect((await exported("--format", "doc")).status).toBe(2);
    expect(
      json(await call("history", "export", "-s", "absent", "-o", local("x.md"), "--json")),
    ).toMatchObject({
      error: { code: "unknown_session" },
    });
  });
});

describe("history --tree", () => {
  test("shows the lines, the head and the forks", async () => {
    const { status, stdout } = await call("history", "--tree", "--session", "demo");
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        "demo, from the beginning",
        `● ${ids[0]} rev 1 ok  a = [1]`,
        `├─○ ${ids[1]} rev 2 ok  a.append(2)`,
        `│ ○ ${ids[2]} rev 3 error  1/0 → ZeroDivisionError: division by zero`,
        `● ${ids[3]} rev 4 ok  ← head  ⑂ what-if  b = 2`,
        "",
      ].join("\n"),
    );
    const fork = await call("history", "--tree", "--session", "what-if");
    expect(fork.stdout).toBe(`what-if, from demo at ${ids[3]}  ← head\n`);
    const cut = await call("history", "--tree", "--session", "demo", "--limit", "2");
    expect(cut.stdout).toMatch(/^demo, from older executions\n.*rev 3.*\n.*rev 4.*\n$/);
    expect(cut.stderr).toContain("Older executions are left out");
  });

  test("is one JSON document", async () => {
    expect(json(await call("history", "--tree", "--session", "demo", "--json"))).toMatchObject({
      session: "demo",
      head: ids[3],
      forked_from: null,
      forks: [{ session: "what-if", execution: ids[3] }],
      complete: true,
      executions: [
        { id: ids[0], parent: null, on_line: true },
        { id: ids[1], parent: ids[0], on_line: false },
        { id: ids[2], parent: ids[1], on_line: false },
        { id: ids[3], parent: ids[0], on_line: true },
      ],
    });
    expect((await call("history", "words", "--tree")).status).toBe(2);
  });
});

test("history --variable and --where", async () => {
  const found = await call("history", "--variable", "a", "--where", "length = 2");
  expect(found.stdout).toContain(ids[1]);
  expect(found.stdout).toContain("~ a: list = [1, 2]");
  expect(found.stdout).not.toContain(ids[0]);
  const wrong = await call("history", "--where", "length is 2");
  expect(wrong).toMatchObject({ status: 2, stdout: "" });
  expect(wrong.stderr).toContain("  length is 2\n         ^");
});

describe("session import", () => {
  const cell = (source: string | string[], fields: object = {}) => ({
    cell_type: "code",
    source,
    metadata: {},
    outputs: [],
    execution_count: null,
    ...fields,
  });

  function notebook(name: string, cells: object[], fields: object = {}): string {
    const content = { nbformat: 4, nbformat_minor: 4, metadata: {}, cells, ...fields };
    writeFileSync(local(name), JSON.stringify(content));
    return local(name);
  }

  test("runs the code cells in order, and stops at one that fails", async () => {
    const file = notebook("My analysis.ipynb", [
      { cell_type: "markdown", source: "# not code", metadata: {} },
      cell(["x = 1\n", "y = 2"]),
      cell("  \n"),
      cell("raise ValueError(x)", { metadata: { tags: ["raises-exception"] } }),
      cell("input()"),
      cell("z = x + y"),
    ]);
    const stopped = await call("session", "import", file, "--json");
    expect(stopped.status).toBe(1);
    expect(json(stopped)).toMatchObject({
      session: "My-analysis",
      cells: 4,
      ran: [
        { cell: 2, status: "ok" },
        { cell: 4, status: "error" },
        { cell: 5, status: "error" },
      ],
      left: 1,
    });
    expect(stopped.stderr).toMatch(/^\[1\/4\] cell 2: exec_\w+ ok /);
    expect(stopped.stderr).toContain("EOFError");
    const whole = await call("session", "import", file, "whole", "--keep-going");
    expect(whole.status).toBe(1);
    expect(whole.stdout).toMatch(/^session +whole\ncells run +4\n$/);
    expect((await at.client.variable("whole", "z")).preview).toBe("3");
    expect(json(await call("session", "import", file, "whole", "--json"))).toMatchObject({
      error: { code: "session_exists" },
    });
  });

  test("takes what was exported", async () => {
    const file = local("round.ipynb");
    expect((await call("history", "export", "-s", "demo", "-o", file)).status).toBe(0);
    const outcome = await call("session", "import", file);
    expect(outcome).toMatchObject({ status: 0, stdout: expect.stringMatching(/^session +round\n/) });
    expect((await at.client.variable("round", "b")).preview).toBe("2");
  });

  test("takes NaN and Infinity, as Python writes them, and leaves texts as they are", async () => {
    const data = { "application/json": { low: "LOW", high: "HIGH", quote: 'a \\" "NaN' } };
    const outputs = [{ output_type: "display_data", metadata: {}, data }];
    const file = notebook("nonfinite.ipynb", [cell('x = "NaN, \\\\"; y = "Infinity"', { outputs })]);
    const text = readFileSync(file, "utf8").replace('"LOW"', "-Infinity").replace('"HIGH"', "NaN");
    writeFileSync(file, text);
    expect(text).toContain("-Infinity,");
    expect(await call("session", "import", file)).toMatchObject({ status: 0 });
    expect((await at.client.variable("nonfinite", "x")).preview).toBe(String.raw`'NaN, \\'`);
    writeFileSync(file, text.replace('"nbformat_minor":4', '"nbformat_minor":?'));
    const refused = json(await call("session", "import", file, "broken", "--json"));
    expect(refused).toMatchObject({
      error: { message: expect.stringContaining("no JSON"), remedy: expect.stringContaining("Jupyter") },
    });
    expect(refused).toMatchObject({ error: { message: expect.stringContaining("?") } });
  });

  test.each([
    ["no JSON", "print(1)", "invalid_request", "it is no JSON"],
    ["no notebook", "[1]", "invalid_request", "without `nbformat`"],
    ["nbformat 3", '{"nbformat": 3, "worksheets": []}', "invalid_request", "nbformat 3"],
    ["a cell that is none", '{"nbformat": 4, "cells": [{"source": 1}]}', "invalid_request", "cells.0"],
    [
      "another language",
      '{"nbformat": 4, "cells": [], "metadata": {"language_info": {"name": "julia"}}}',
      "unknown_language",
      "notebook of julia",
    ],
    ["no text", Buffer.from([0xff, 0xfe]), "invalid_encoding", "not valid UTF-8"],
  ])("refuses %s", async (_what, content, code, message) => {
    writeFileSync(local("wrong.ipynb"), content);
    const outcome = await call("session", "import", local("wrong.ipynb"), "--json");
    expect(outcome.status).toBe(2);
    expect(json(outcome)).toMatchObject({ error: { code, message: expect.stringContaining(message) } });
    expect((await call("session", "show", "wrong")).status).toBe(2);
  });
});
