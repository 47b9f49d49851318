import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rowsOf } from "../../src/cli/repl/drawing.ts";
import { Editor } from "../../src/cli/repl/editor.ts";
import type { Key } from "../../src/cli/repl/terminal.ts";
import { ReplLine } from "../../src/contract/repl.ts";
import { type TestHome, testHome } from "../support/home.ts";
import { execute } from "./program.ts";

let at: TestHome;
beforeAll(async () => {
  at = await testHome();
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});

const PROGRAM = path.resolve("bin/execute-code.js");
const [ENTER, TAB, UP, CTRL_C, CTRL_D, CTRL_R, ALT_ENTER] = [
  "\r",
  "\t",
  "\u001b[A",
  "\u0003",
  "\u0004",
  "\u0012",
  "\u001b\r",
];

/** A REPL at a terminal of 100 columns. */
class Typist implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<number>;
  #shown = "";
  #read = 0;
  #waiting: (() => void) | null = null;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(
      "python3",
      [path.resolve("tests/cli/terminal.py"), process.execPath, PROGRAM, "repl", ...args],
      { env: { ...process.env, EXECUTE_CODE_HOME: at.home, TERM: "xterm", NO_COLOR: "1", ...env } },
    );
    let status = "";
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.#shown += text;
      this.#waiting?.();
    });
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      status += text;
    });
    this.ended = new Promise((resolve) => {
      this.child.on("close", () => resolve(Number(status.trim().split("\n").at(-1))));
    });
  }

  type(...keys: string[]): void {
    this.child.stdin!.write(keys.join(""));
  }

  /** Waits for text that is shown after what was waited for before; the raw text up to it. */
  async sees(text: string | RegExp): Promise<string> {
    for (;;) {
      const rest = this.#shown.slice(this.#read);
      const found = typeof text === "string" ? rest.indexOf(text) : rest.search(text);
      if (found >= 0) {
        const length = typeof text === "string" ? text.length : text.exec(rest)![0].length;
        this.#read += found + length;
        return rest.slice(0, found + length);
      }
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#waiting = resolve;
      const timer = setTimeout(
        () => reject(new Error(`${String(text)} was not shown, but: ${stripVTControlCharacters(rest)}`)),
        15_000,
      );
      await promise.finally(() => clearTimeout(timer));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill();
    await this.ended;
  }
}

describe("at a terminal", () => {
  test("runs cells, of one line and of many, and says the revision", async () => {
    await using me = new Typist(["-s", "cells"]);
    await me.sees("cells:0> ");
    me.type("x = 6 * 7", ENTER);
    await me.sees("cells:1> ");
    me.type("x", ENTER);
    await me.sees("\n42");
    await me.sees("cells:2> ");
    me.type("def f(n):", ENTER);
    await me.sees("...     ");
    me.type("return n + 1", ENTER, ENTER);
    await me.sees("cells:3> ");
    me.type("f(", ENTER);
    await me.sees("...     ");
    me.type("x)", ENTER);
    await me.sees("\n43");
    await me.sees("cells:4> ");
    me.type("y = 1", ALT_ENTER, "y + 1", ENTER);
    await me.sees("\n2");
    me.type(CTRL_D);
    expect(await me.ended).toBe(0);
    expect(await at.client.showSession("cells")).toMatchObject({ state: "idle", revision: 5 });
  });

  test("lines that come at once keep their own margins, with and without marks of a paste", async () => {
    await using me = new Typist(["-s", "paste"]);
    await me.sees("paste:0> ");
    me.type("for i in range(2):\r    if i:\r        print('got', i)\r\r");
    await me.sees("got 1");
    await me.sees("paste:1> ");
    me.type(
      "\u001b[200~class A:\r    def f(self):\r        return 'f'\r\r    g = 2\r\rA().f(), A.g\u001b[201~",
    );
    await me.sees("A().f(), A.g");
    me.type(ENTER);
    await me.sees("('f', 2)");
    const { executions } = await at.client.history({ session: "paste" });
    expect(executions[0]!.code).toBe(
      "class A:\n    def f(self):\n        return 'f'\n\n    g = 2\n\nA().f(), A.g",
    );
  });

  test("errors are red on a terminal, unless NO_COLOR is set", async () => {
    await using plain = new Typist(["-s", "plain"]);
    await plain.sees("> ");
    plain.type("1/0", ENTER);
    expect(await plain.sees("division by zero")).not.toContain("\u001b[31m");
    // Node shows no colours where CI is set: as on a person's machine, it is not.
    const person = { NO_COLOR: undefined, FORCE_COLOR: undefined, CI: undefined };
    await using coloured = new Typist(["-s", "red"], person);
    await coloured.sees("> ");
    coloured.type("1/0", ENTER);
    await coloured.sees("\u001b[31mZeroDivisionError: division by zero");
  });

  test("Tab completes names, attributes and commands", async () => {
    await using me = new Typist(["-s", "tab"]);
    await me.sees("tab:0> ");
    me.type("some_name = 'value'", ENTER);
    await me.sees("tab:1> ");
    me.type("some_", TAB, ".cap", TAB, "()", ENTER);
    await me.sees("'Value'");
    me.type("some_name.is", TAB);
    await me.sees(/isalnum +isalpha/);
    me.type(CTRL_C, ":snapshots", TAB, ENTER);
    await me.sees(/AFTER +REVISION/);
  });

  test("Ctrl-C interrupts the cell, and clears the line at the prompt; the second one leaves", async () => {
    await using me = new Typist(["-s", "interrupt"]);
    await me.sees("> ");
    me.type("never run", CTRL_C);
    await me.sees("interrupt:0> ");
    me.type("import time; print('on'); time.sleep(60)", ENTER);
    await me.sees("\non");
    me.type(CTRL_C);
    await me.sees("KeyboardInterrupt");
    await me.sees("interrupt:1> ");
    me.type(
      "while True:\n    try: print('again'); time.sleep(60)\n    except KeyboardInterrupt: pass\n\n".replaceAll(
        "\n",
        ENTER,
      ),
    );
    await me.sees("\nagain");
    me.type(CTRL_C);
    await me.sees("Interrupting");
    me.type(CTRL_C);
    expect(await me.ended).toBe(3);
    expect((await at.client.showSession("interrupt")).state).not.toBe("closed");
  });

  test("answers input() and getpass() of the code", async () => {
    await using me = new Typist(["-s", "ask"]);
    await me.sees("> ");
    me.type("print('so: ', end=''); name = input('Name: ')", ENTER);
    await me.sees("so: Name: ");
    me.type("Adx\u007fa", ENTER);
    await me.sees("ask:1> ");
    me.type("import getpass; secret = getpass.getpass()", ENTER);
    await me.sees("Password: ");
    me.type("hidden", ENTER);
    expect(await me.sees("ask:2> ")).not.toContain("hidden");
    me.type("name, secret", ENTER);
    await me.sees("('Ada', 'hidden')");
    me.type("input()", ENTER, CTRL_D);
    await me.sees("EOFError");
    me.type("input('Never: ')", ENTER);
    await me.sees(/\nNever: /); // The question, not the line as it was typed.
    me.type(CTRL_C);
    await me.sees("KeyboardInterrupt");
  });

  test("output that comes while an answer is typed goes above it", async () => {
    await using me = new Typist(["-s", "above"]);
    await me.sees("> ");
    me.type("import threading", ENTER);
    await me.sees("above:1> ");
    me.type("threading.Timer(1, print, ['tick']).start(); answer = input('who? ')", ENTER);
    await me.sees("who? ");
    me.type("Ad");
    await me.sees("tick");
    await me.sees("Ad");
    me.type("a", ENTER);
    await me.sees("above:2> ");
    me.type("answer", ENTER);
    await me.sees("'Ada'");
  });

  test("the history lasts, is the user's alone, and is searched", async () => {
    {
      await using me = new Typist(["-s", "one"]);
      await me.sees("> ");
      me.type("marked = 'first'", ENTER);
      await me.sees("one:1> ");
      me.type("if marked:", ENTER, "    print(1 +", ENTER, "1)", ENTER, ENTER);
      await me.sees("one:2> ");
      me.type(CTRL_D);
      expect(await me.ended).toBe(0);
    }
    const file = path.join(at.home, "repl-history");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, "utf8")).toContain("\"marked = 'first'\"\n");
    await using me = new Typist(["-s", "one"]);
    await me.sees("> ");
    me.type(UP);
    await me.sees("if marked:");
    me.type(ENTER);
    await me.sees("\n2");
    await me.sees("one:3> ");
    me.type(CTRL_R, "'fir");
    await me.sees("marked = 'first'");
    me.type(ENTER);
    await me.sees("one:4> ");
  });

  test("commands: look, go back, fork, switch", async () => {
    await using me = new Typist(["-s", "commands"]);
    await me.sees("> ");
    me.type("x = 1", ENTER);
    await me.sees("commands:1> ");
    me.type("x = 2", ENTER);
    await me.sees("commands:2> ");
    me.type(":undo", ENTER);
    await me.sees("memory as after");
    await me.sees("commands:2> ");
    me.type(":inspect x", ENTER);
    await me.sees(/value +1/);
    me.type(":fork branch", ENTER);
    await me.sees(/branch:\d+> /);
    me.type("x += 10; x", ENTER);
    await me.sees("\n11");
    me.type(":session commands", ENTER);
    await me.sees(/commands:\d+> /);
    me.type("x", ENTER);
    await me.sees("\n1\r\n");
    me.type(":history x", ENTER);
    await me.sees("x = 2");
    me.type(":restart", ENTER);
    await me.sees("generation");
    me.type("x", ENTER);
    await me.sees("NameError");
    me.type(":nonsense", ENTER);
    await me.sees("There is no command :nonsense.");
    me.type(":help", ENTER);
    await me.sees(":rollback [TO]");
    me.type(":quit", ENTER);
    expect(await me.ended).toBe(0);
  });

  test("goes on when the kernel dies, and when the daemon is another one", async () => {
    await using me = new Typist(["-s", "lost"]);
    await me.sees("> ");
    me.type("x = [1, 2]", ENTER);
    await me.sees("lost:1> ");
    me.type("import os; os._exit(1)", ENTER);
    await me.sees("KernelDied");
    await me.sees("lost:2> ");
    await at.client.stop({ drainMs: 0 });
    me.type("x", ENTER);
    await me.sees("[1, 2]");
    await me.sees("The session had a new kernel");
    await me.sees("lost:3> ");
  });

  test("the session and its cell live on when the terminal goes away", async () => {
    const me = new Typist(["-s", "away"]);
    await me.sees("> ");
    me.type("import time; print('on'); time.sleep(0.5); done = True", ENTER);
    await me.sees("\non");
    me.child.kill("SIGKILL");
    await me.ended;
    const [running] = (await at.client.history({ session: "away" })).executions;
    expect((await at.client.wait(running!.id)).status).toBe("ok");
  });

  test("without a terminal it says what to do", async () => {
    const outcome = await execute(at.home, ["repl"]);
    expect(outcome).toMatchObject({ status: 2, stdout: "" });
    expect(outcome.stderr).toContain("--json");
  });
});

describe("--json", () => {
  interface Out {
    readonly status: number | null;
    readonly lines: Array<Record<string, unknown>>;
  }

  async function talk(requests: readonly unknown[], ...args: string[]): Promise<Out> {
    const input = requests.map((one) => (typeof one === "string" ? one : JSON.stringify(one)));
    const outcome = await execute(at.home, ["repl", "--json", ...args], { input: `${input.join("\n")}\n` });
    expect(outcome.stderr).toBe("");
    const lines = outcome.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    for (const line of lines) ReplLine.parse(line);
    return { status: outcome.status, lines };
  }

  const ends = ({ lines }: Out) => lines.filter(({ type }) => type === "end");

  test("events and records, in the order of the requests", async () => {
    const out = await talk(
      [{ id: 1, code: "x = 2\nprint('hi')" }, { id: { any: ["thing"] }, code: "x * 21" }, { code: "x" }],
      "-s",
      "j1",
    );
    expect(out.status).toBe(0);
    expect(out.lines[0]).toMatchObject({
      id: 1,
      type: "accepted",
      session: "j1",
      execution: expect.stringMatching(/^exec_/),
    });
    expect(out.lines[1]).toMatchObject({ id: 1, type: "stdout", text: "hi\n" });
    expect(ends(out)).toMatchObject([
      { id: 1, record: { status: "ok", stdout: "hi\n" } },
      { id: { any: ["thing"] }, record: { result: { text: "42" } } },
      { id: null, record: { result: { text: "2" } } },
    ]);
  });

  test("bad requests are told, and the REPL goes on", async () => {
    const out = await talk(
      [
        "nonsense",
        "[1]",
        { id: 2 },
        { id: 3, code: "1", bogus: true },
        { id: 4, code: 5 },
        { id: 5, code: "1", input: "2" },
        { interrupt: "none" },
        { input: "nobody asks" },
        { id: 6, inspect: "missing" },
        { id: 7, code: "" },
        "",
        { id: 8, code: "'on'" },
      ],
      "-s",
      "j2",
    );
    expect(out.status).toBe(0);
    const codes = out.lines.flatMap((line) =>
      "error" in line ? [[line.id, (line.error as { code: string }).code]] : [],
    );
    expect(codes).toEqual([
      [null, "invalid_json"],
      [null, "invalid_request"],
      [2, "invalid_request"],
      [3, "invalid_request"],
      [4, "invalid_request"],
      [5, "invalid_request"],
      [null, "unknown_execution"],
      [null, "no_input_requested"],
      [6, "unknown_session"],
      [7, "empty_code"],
    ]);
    expect(ends(out)).toMatchObject([{ id: 8, record: { result: { text: "'on'" } } }]);
  });

  test("answers to questions: before them, by id, the end of input, too many", async () => {
    const out = await talk(
      [
        { id: 1, code: "input('a? ') + input('b? ')" },
        { input: "A" },
        { id: 1, input: "B" },
        { id: 2, code: "input()" },
        { id: 2, input: null },
        { id: 3, code: "1" },
        { id: 3, input: "not asked" },
        { id: 4, code: "input('last? ')" },
      ],
      "-s",
      "j3",
    );
    expect(ends(out)).toMatchObject([
      { id: 1, record: { result: { text: "'AB'" } } },
      { id: 2, record: { error: { type: "EOFError" } } },
      { id: 3, record: { status: "ok" } },
      { id: 4, record: { error: { type: "EOFError" } } },
    ]);
    expect(out.lines.filter((line) => "error" in line)).toMatchObject([
      { id: 3, error: { code: "no_input_requested" } },
    ]);
  });

  test("an interrupt acts while a cell runs, and drops what waits", async () => {
    const child = spawn(process.execPath, [PROGRAM, "repl", "--json", "-s", "j4"], {
      env: { ...process.env, EXECUTE_CODE_HOME: at.home },
    });
    let shown = "";
    const sees = Promise.withResolvers<void>();
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      shown += text;
      if (shown.includes('"text":"on')) sees.resolve();
    });
    const status = new Promise((resolve) => child.on("close", resolve));
    const send = (request: unknown) => child.stdin.write(`${JSON.stringify(request)}\n`);
    send({ id: "long", code: "import time; print('on', flush=True); time.sleep(60)" });
    send({ id: "waits", code: "1" });
    send({ id: "after", code: "'after'" });
    await sees.promise;
    send({ interrupt: "waits" });
    send({ interrupt: "long" });
    child.stdin.end();
    expect(await status).toBe(0);
    const lines = shown
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.filter(({ type, error }) => type === "end" || error)).toMatchObject([
      { id: "long", record: { status: "interrupted" } },
      { id: "waits", error: { code: "unknown_execution" } },
      { id: "after", record: { result: { text: "'after'" } } },
    ]);
  });

  test("a signal interrupts all, and takes no more", async () => {
    const child = spawn(process.execPath, [PROGRAM, "repl", "--json", "-s", "j7"], {
      env: { ...process.env, EXECUTE_CODE_HOME: at.home },
    });
    let shown = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (!shown.includes('"text":"on') && (shown + text).includes('"text":"on')) child.kill("SIGINT");
      shown += text;
    });
    const status = new Promise((resolve) => child.on("close", resolve));
    child.stdin.write('{"code": "import time; print(\'on\', flush=True); time.sleep(60)"}\n{"code": "1"}\n');
    expect(await status).toBe(3);
    expect(shown).toContain('"status":"interrupted"');
  });

  test("timeouts, the environment, transactions", async () => {
    const out = await talk(
      [
        { id: 1, code: "x = 1; import os, time" },
        { id: 2, code: "time.sleep(60)", timeout_ms: 200 },
        { id: 3, code: "x = 2; 1/0", on_error: "rollback" },
        { id: 4, code: "x, os.environ['GIVEN']", env: { GIVEN: "here" } },
        { id: 5, code: "time.sleep(0.5)", timeout_ms: 50, on_timeout: "detach" },
        { id: 6, code: "'after'", session: "j5-other" },
      ],
      "-s",
      "j5",
    );
    const last = out.lines.filter(({ type }) => type === "end" || type === "detached");
    expect(last).toMatchObject([
      { id: 1, type: "end" },
      { id: 2, record: { status: "timed_out" } },
      { id: 3, record: { status: "error" } },
      { id: 4, record: { result: { text: "(1, 'here')" } } },
      { id: 5, type: "detached", record: { status: "running" } },
      { id: 6, record: { session: "j5-other" } },
    ]);
  });

  test("looks, completions, snapshots, rollbacks, forks, resets", async () => {
    const out = await talk(
      [
        { code: "value = [1]" },
        { id: "all", inspect: null },
        { id: "one", inspect: "value", depth: 1 },
        { id: "complete", complete: "value.app", cursor: 9 },
        { id: "status", complete: "def f():" },
        { id: "snapshot", snapshot: "before" },
        { code: "value = 2" },
        { id: "rollback", rollback: "before" },
        { id: "fork", fork: "j6-fork" },
        { id: "forked", code: "value", session: "j6-fork" },
        { id: "reset", reset: true },
        { id: "gone", code: "value" },
      ],
      "-s",
      "j6",
    );
    const answer = (id: string) => out.lines.find((line) => line.id === id && line.type === "answer")?.answer;
    expect(answer("all")).toMatchObject({ variables: [{ name: "value" }] });
    expect(answer("one")).toMatchObject({ name: "value", children: [{ preview: "1" }] });
    expect(answer("complete")).toMatchObject({ matches: ["append"], start: 6, end: 9 });
    expect(answer("status")).toMatchObject({ status: "incomplete", indent: "    " });
    expect(answer("snapshot")).toMatchObject({ name: "before" });
    expect(answer("rollback")).toMatchObject({ snapshot: { name: "before" } });
    expect(answer("fork")).toMatchObject({ sessions: [{ name: "j6-fork" }] });
    expect(answer("reset")).toMatchObject({ name: "j6" });
    expect(ends(out).slice(2)).toMatchObject([
      { id: "forked", record: { result: { text: "[1]" } } },
      { id: "gone", record: { error: { type: "NameError" } } },
    ]);
  });

  test("the platform's failure: status 4", async () => {
    const noFolder = path.join(at.home, "history.db");
    const outcome = await execute(noFolder, ["repl", "--json"], { input: '{"id": 1, "code": "1"}\n' });
    expect(outcome.status).toBe(4);
    expect(JSON.parse(outcome.stdout)).toMatchObject({ id: 1, error: { code: "home_unusable" } });
  });
});

describe("the editor", () => {
  const key = (name: string, more: Partial<Key> = {}): Key => ({
    name,
    ctrl: false,
    meta: false,
    shift: false,
    text: "",
    ...more,
  });
  const ctrl = (name: string) => key(name, { ctrl: true });
  const typed = (editor: Editor, text: string) => {
    for (const character of text) {
      if (character === "\n") editor.press(key("return", { meta: true }));
      else editor.press(key(character, { text: character }));
    }
    return editor;
  };

  test("moves and cuts", () => {
    const editor = typed(new Editor(), "one two\nthree");
    for (const press of [key("up"), ctrl("e"), ctrl("w"), ctrl("a")]) editor.press(press);
    typed(editor, "0 ");
    for (const press of [ctrl("end"), ctrl("y")]) editor.press(press);
    expect(editor.text).toBe("0 one \nthreetwo");
    editor.press(ctrl("u"));
    expect(editor.text).toBe("0 one \n");
    editor.press(key("undo", { text: "\u001f" }));
    expect(editor.text).toBe("0 one \nthreetwo");
  });

  test("takes characters whole, and levels of indentation", () => {
    const editor = typed(new Editor(), "a");
    editor.insert("👩‍👩‍👧é");
    editor.press(key("backspace"));
    editor.press(key("backspace"));
    expect(editor.text).toBe("a");
    editor.insert("\n        ");
    editor.press(key("backspace"));
    expect(editor.text).toBe("a\n    ");
    editor.press(key("tab"));
    editor.press(key("tab", { shift: true }));
    expect(editor.text).toBe("a\n    ");
  });

  test("goes through the history and back to the draft", () => {
    const editor = typed(new Editor(["first", "if x:\n    y"]), "draft");
    editor.press(key("up"));
    expect([editor.text, editor.recalled]).toEqual(["if x:\n    y", true]);
    editor.press(key("up"));
    editor.press(key("up"));
    expect(editor.text).toBe("first");
    for (let times = 0; times < 4; times++) editor.press(key("down"));
    expect([editor.text, editor.recalled]).toEqual(["draft", false]);
  });

  test("searches backwards; Ctrl-G gives the draft back", () => {
    const editor = typed(new Editor(["import os", "x = 1", "import sys"]), "draft");
    editor.press(ctrl("r"));
    typed(editor, "imp");
    expect(editor.text).toBe("import sys");
    editor.press(ctrl("r"));
    expect(editor.text).toBe("import os");
    typed(editor, "zzz");
    expect(editor.search).toEqual({ query: "impzzz", found: false });
    editor.press(ctrl("g"));
    expect([editor.text, editor.search]).toEqual(["draft", null]);
  });

  test("rows: wide characters, wrapped lines, the cursor's place", () => {
    const picture = { prompt: "> ", continuation: ". ", below: [] };
    expect(rowsOf({ ...picture, text: "ab\ncd", cursor: 4 }, 20)).toEqual({
      rows: ["> ab", ". cd"],
      row: 1,
      column: 3,
    });
    expect(rowsOf({ ...picture, text: "값값값값", cursor: 4 }, 9)).toEqual({
      rows: ["> 값값값", "값"],
      row: 1,
      column: 2,
    });
    expect(rowsOf({ ...picture, text: "a\u001bb", cursor: 0 }, 20).rows).toEqual(["> a^[b"]);
  });
});
