import path from "node:path";
import { Client, type VersionNegotiationMode } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type TestHome, testHome } from "../support/home.ts";

let at: TestHome;
beforeAll(async () => {
  at = await testHome();
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
});

interface Block {
  readonly type: string;
  readonly text?: string;
  readonly data?: string;
  readonly mimeType?: string;
}
interface ToolAnswer {
  readonly isError: boolean;
  readonly content: Block[];
  readonly structured: Record<string, unknown>;
  /** All text blocks. */
  readonly text: string;
}
type CallOptions = Parameters<Client["callTool"]>[1];

interface Host extends AsyncDisposable {
  readonly mcp: Client;
  readonly pid: number;
  call(name: string, args: Record<string, unknown>, options?: CallOptions): Promise<ToolAnswer>;
}

async function host(mode: VersionNegotiationMode = "legacy", grants: string[] = []): Promise<Host> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [path.resolve("bin/execute-code.js"), "mcp", ...grants],
    env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "", EXECUTE_CODE_HOME: at.home },
  });
  const mcp = new Client({ name: "test-host", version: "1.0.0" }, { versionNegotiation: { mode } });
  await mcp.connect(transport);
  return {
    mcp,
    pid: transport.pid ?? 0,
    async call(name, args, options) {
      const answer = await mcp.callTool({ name, arguments: args }, options);
      const content = answer.content as Block[];
      return {
        isError: answer.isError === true,
        content,
        structured: (answer.structuredContent ?? {}) as Record<string, unknown>,
        text: content.flatMap((block) => (block.type === "text" ? [block.text ?? ""] : [])).join("\n"),
      };
    },
    async [Symbol.asyncDispose]() {
      await mcp.close();
    },
  };
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error("it did not come about");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const STATUS =
  /^exec_[0-9a-z]{26} (ok|error|running|timed_out|interrupted|crashed) \d+ ms session=\S+ rev=\d+ state=retained( isolation=(reduced|none))?$/;

describe.each([
  ["2025-11-25", "legacy"],
  ["2026-07-28", { pin: "2026-07-28" }],
] as const)("protocol %s", (version, mode) => {
  let at_: Host;
  beforeAll(async () => {
    at_ = await host(mode);
  });
  afterAll(async () => {
    await at_[Symbol.asyncDispose]();
  });

  test("is spoken, by a server that names itself", async () => {
    expect(at_.mcp.getNegotiatedProtocolVersion()).toBe(version);
    expect(at_.mcp.getServerVersion()).toMatchObject({ name: "execute-code" });
  });

  test("the tools", async () => {
    const { tools } = await at_.mcp.listTools();
    expect(tools.map((tool) => tool.name)).toEqual([
      "execute_code",
      "execution",
      "session",
      "inspect",
      "history",
    ]);
    for (const tool of tools) {
      expect(tool.description?.length).toBeLessThan(250);
      expect(tool.annotations?.readOnlyHint).toBe(["inspect", "history"].includes(tool.name));
      expect(tool.outputSchema !== undefined).toBe(["execute_code", "execution"].includes(tool.name));
    }
    expect(tools[0]?.inputSchema.properties).toMatchObject({
      code: { type: "string" },
      session: { default: "main" },
      timeout_ms: { default: 30_000 },
      on_timeout: { enum: ["detach", "interrupt"], default: "detach" },
    });
  });

  test("execute_code: status line, stdout, result, and a small digest", async () => {
    const answer = await at_.call("execute_code", {
      code: "df = [1, 2]\nprint('hello')\nlen(df)",
      session: version,
    });
    const lines = answer.text.split("\n");
    expect(lines[0]).toMatch(STATUS);
    expect(lines.slice(1)).toEqual(["hello", "result:", "2"]);
    expect(answer.isError).toBe(false);
    expect(answer.structured).toEqual({
      execution_id: lines[0]?.split(" ")[0],
      session: version,
      revision: 1,
      status: "ok",
      duration_ms: expect.any(Number),
      result: "2",
      error: null,
      state: "retained",
      rolled_back: null,
      restore: null,
      variables: { added: ["df"], changed: [], deleted: [] },
      directives: [],
      artifacts: [],
      truncated: { bytes: 0 },
      input_requested: null,
      offset: expect.any(Number),
    });
    const record = await at.client.execution(String(answer.structured.execution_id));
    expect(record.cause).toEqual({ kind: "client", client: "mcp:test-host" });
  });

  test("session: snapshot, rollback and fork", async () => {
    const name = `${version}-branches`;
    const run = (code: string, more = {}) => at_.call("execute_code", { code, session: name, ...more });
    const session = (action: string, options = {}, of = name) =>
      at_.call("session", { action, name: of, options });
    const first = String((await run("x = [1]")).structured.execution_id);
    const kept = await session("snapshot", { snapshot: "one" });
    expect(kept.isError).toBe(false);
    expect(kept.text).toMatch(new RegExp(`^snap_[0-9a-z]{26} after ${first}$`));
    const second = String((await run("x.append(2); open('made', 'w').close()")).structured.execution_id);
    const back = await session("rollback");
    expect(back.text).toContain(`variables are as after ${first}`);
    expect(back.text).toContain(`undone: ${second}`);
    expect((await run("x")).structured).toMatchObject({ result: "[1]", state: "restored" });
    expect((await session("rollback", { to: second })).text).toContain(`variables are as after ${second}`);
    const forks = await session("fork", { names: [`${name}-a`, `${name}-b`], from: "one" });
    expect(forks.text.split("\n")).toHaveLength(2);
    expect(forks.text).toContain(`${name}-a`);
    const there = await at_.call("execute_code", { code: "x", session: `${name}-a` });
    expect(there.structured).toMatchObject({ result: "[1]" });
    for (const [action, options, said] of [
      ["rollback", { to: "nothing" }, "unknown_snapshot"],
      ["snapshot", { snapshot: "one" }, "snapshot_exists"],
      ["fork", { names: [`${name}-a`] }, "session_exists"],
      ["fork", { from: "nothing" }, "unknown_snapshot"],
    ] as const) {
      const refused = await session(action, options);
      expect(refused.isError).toBe(true);
      expect(refused.text).toContain(said);
    }
    expect((await at_.call("session", { action: "fork" })).isError).toBe(true);
    await run("import subprocess; job = subprocess.Popen(['sleep', '600'])");
    expect((await session("fork")).text).toContain("unsafe_fork");
    expect((await session("fork", { on_unsafe: "warn" })).text).toMatch(
      /The copy lacks the child process \d+ \(job\)\./,
    );
  });

  test("execute_code: on_error rollback", async () => {
    const session = `${version}-transactions`;
    await at_.call("execute_code", { code: "x = [1]", session });
    const code = "x.append(2); 1 / 0";
    const failed = await at_.call("execute_code", { code, session, on_error: "rollback" });
    expect(failed.isError).toBe(true);
    expect(failed.structured).toMatchObject({
      status: "error",
      state: "restored",
      rolled_back: { to: expect.stringMatching(/^exec_/), files: [], truncated: false },
    });
    const next = await at_.call("execute_code", { code: "x", session });
    expect(next.structured).toMatchObject({ result: "[1]", rolled_back: null });
    await at_.call("execute_code", {
      code: "import subprocess; job = subprocess.Popen(['sleep', '60'])",
      session,
    });
    const told = await at_.call("execute_code", { code, session, on_error: "rollback" });
    expect(told.structured).toMatchObject({ rolled_back: { ended: [{ kind: "process", variable: "job" }] } });
    expect(told.text).toMatch(/What was left had the child process \d+ \(job\), which is gone\./);
  });

  test("input: the call answers at once with the question, and each answer goes on from there", async () => {
    const code = "name = input('name? ')\nage = input('age? ')\nf'{name} is {age}'";
    const asked = await at_.call("execute_code", { code, session: `${version}-input` });
    expect(asked.isError).toBe(false);
    expect(asked.structured).toMatchObject({ status: "running", input_requested: { prompt: "name? " } });
    const id = String(asked.structured.execution_id);
    expect(asked.text).toContain("name? ");
    expect(asked.text).toContain(`It asks “name?”: answer with execution, id ${id}, action input, text.`);
    const next = await at_.call("execution", { id, action: "input", text: "Ada" });
    expect(next.structured).toMatchObject({ status: "running", input_requested: { prompt: "age? " } });
    const done = await at_.call("execution", { id, action: "input", text: "36" });
    expect(done.structured).toMatchObject({ status: "ok", result: "'Ada is 36'", input_requested: null });
    const over = await at_.call("execution", { id, action: "input", text: "x" });
    expect(over.isError).toBe(true);
    expect(over.text).toContain("no_input_requested");
    const eof = await at_.call("execute_code", { code: "input()", session: `${version}-input` });
    const ended = await at_.call("execution", {
      id: String(eof.structured.execution_id),
      action: "input",
    });
    expect(ended.text).toContain("EOFError: EOF when reading a line");
  });

  test("late output is marked with the execution that it is from", async () => {
    const session = `${version}-late`;
    const first = await at_.call("execute_code", {
      code: "import threading\ngo = threading.Event()\nt = threading.Thread(target=lambda: (go.wait(), print('tick')))\nt.start()",
      session,
    });
    const id = String(first.structured.execution_id);
    await at_.call("execute_code", { code: "go.set(); t.join()", session });
    await vi.waitFor(async () => {
      const shown = await at_.call("history", { action: "show", id });
      expect(shown.text).toContain(`late stdout, from ${id}:\ntick`);
    });
  });

  test("a failing cell is an error with its partial output", async () => {
    const answer = await at_.call("execute_code", { code: "print('part')\n1/0" });
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(
      /^exec_\S+ error .*\npart\nerror:\nTraceback .*ZeroDivisionError: division by zero$/s,
    );
    expect(answer.structured).toMatchObject({
      status: "error",
      error: { type: "ZeroDivisionError", message: "division by zero", line: 2 },
    });
  });

  test("long output: head and tail, no longer than asked for, all of it as a resource", async () => {
    const code = "for i in range(20000): print('줄', i)";
    const answer = await at_.call("execute_code", { code, max_output_chars: 1_000 });
    expect(answer.text).toMatch(/\n줄 0\n/);
    expect(answer.text).toMatch(/\n… \d+ bytes left out …\n/);
    expect(answer.text).toMatch(/\n줄 19999\n/);
    expect(answer.text.length).toBeLessThan(1_300);
    expect(answer.text.isWellFormed()).toBe(true);
    expect((answer.structured.truncated as { bytes: number }).bytes).toBeGreaterThan(100_000);
    const uri = `execute-code://executions/${String(answer.structured.execution_id)}/stdout`;
    const { contents } = await at_.mcp.readResource({ uri });
    expect((contents[0] as { text: string }).text.split("\n")).toHaveLength(20_001);
  });

  test("images are image content, never base64 in the digest; HTML is never shown", async () => {
    const code = `import base64
class Both:
    def _repr_png_(self): return base64.b64decode("${PNG}")
    def _repr_html_(self): return "<b>html</b>"
    def __repr__(self): return "plain"
ec.display(Both())
Both()`;
    const answer = await at_.call("execute_code", { code });
    const images = answer.content.filter((block) => block.type === "image");
    expect(images).toEqual([
      { type: "image", data: PNG, mimeType: "image/png" },
      { type: "image", data: PNG, mimeType: "image/png" },
    ]);
    expect(answer.text).not.toContain("html");
    expect(answer.text).toMatch(/result:\nplain$/);
    expect(JSON.stringify(answer.structured)).not.toContain(PNG.slice(0, 20));
    expect(answer.structured.artifacts).toContainEqual({
      uri: expect.stringMatching(/^execute-code:\/\/executions\/exec_\w+\/artifacts\/\d+$/),
      mime: "image/png",
    });
    const [artifact] = answer.structured.artifacts as Array<{ uri: string }>;
    const { contents } = await at_.mcp.readResource({ uri: artifact?.uri ?? "" });
    expect(contents[0]).toMatchObject({ mimeType: "image/png", blob: PNG });
  });

  test("the richest text wins: markdown", async () => {
    const code = `class M:
    def _repr_markdown_(self): return "**bold**"
    def _repr_html_(self): return "<b>"
M()`;
    const answer = await at_.call("execute_code", { code });
    expect(answer.text).toMatch(/result:\n\*\*bold\*\*$/);
    expect(answer.structured.result).toBe("**bold**");
  });

  test("what is invisible is stripped from the answer and kept in the record", async () => {
    const code = String.raw`print("\x1b[31mred\x1b[0m \u202eevil\u202c \U000E0041\U000E0042 한국어 👨‍👩‍👧")`;
    const answer = await at_.call("execute_code", { code });
    expect(answer.text.split("\n")[1]).toBe("red evil  한국어 👨‍👩‍👧");
    const record = await at.client.execution(String(answer.structured.execution_id));
    expect(record.stdout).toBe("\u001b[31mred\u001b[0m \u202eevil\u202c \u{e0041}\u{e0042} 한국어 👨‍👩‍👧\n");
  });

  test("a call that outlasts its timeout is followed with execution", async () => {
    const code = "import time\nprint('start', flush=True)\ntime.sleep(0.8)\nprint('end')\n7";
    const running = await at_.call("execute_code", { code, timeout_ms: 300 });
    expect(running.isError).toBe(false);
    expect(running.structured).toMatchObject({ status: "running" });
    expect(running.text).toContain("start");
    const id = String(running.structured.execution_id);
    const offset = running.structured.offset;
    const peeked = await at_.call("execution", { id, action: "peek", offset });
    expect(peeked.text).not.toContain("start");
    const ended = await at_.call("execution", { id, action: "wait" });
    expect(ended.structured).toMatchObject({ status: "ok", result: "7" });
    expect(ended.text).toContain("start\nend\nresult:\n7");
    const rest = await at_.call("execution", { id, action: "peek", offset });
    expect(rest.text).toContain("end\nresult:\n7");
    expect(rest.text).not.toContain("start");
  });

  test("interrupt and kill", async () => {
    for (const action of ["interrupt", "kill"]) {
      const session = `${action}-${version}`;
      const running = await at_.call("execute_code", {
        code: "import time; time.sleep(60)",
        session,
        timeout_ms: 200,
      });
      const id = String(running.structured.execution_id);
      expect((await at_.call("execution", { id, action })).isError).toBe(false);
      const ended = await at_.call("execution", { id, action: "wait" });
      expect(ended.structured.status).toBe("interrupted");
    }
  });

  test("progress: what the code reports", async () => {
    const seen: Array<{ progress: number; total?: number | undefined; message?: string | undefined }> = [];
    await at_.call(
      "execute_code",
      {
        code: "import time\nfor i in range(3):\n    ec.progress(i + 1, 3, f'step {i}')\n    time.sleep(0.5)",
      },
      { onprogress: (progress) => seen.push(progress) },
    );
    expect(seen).toEqual([
      { progress: 1, total: 3, message: "step 0" },
      { progress: 2, total: 3, message: "step 1" },
      { progress: 3, total: 3, message: "step 2" },
    ]);
  });

  test("progress: at least every five seconds", async () => {
    const seen: number[] = [];
    await at_.call(
      "execute_code",
      { code: "import time; time.sleep(4.6)", session: `long-${version}` },
      { onprogress: (progress) => seen.push(progress.progress) },
    );
    expect(seen.length).toBeGreaterThanOrEqual(1);
  });

  test.each([
    ["interrupt", "interrupted"],
    ["detach", "running"],
  ])("a cancelled call with on_timeout %s is %s", async (onTimeout, status) => {
    const session = `cancel-${onTimeout}-${version}`;
    const cancel = new AbortController();
    const call = at_.call(
      "execute_code",
      { code: "import time; time.sleep(60)", session, on_timeout: onTimeout },
      { signal: cancel.signal },
    );
    await until(async () => (await at.client.history({ session })).executions.length === 1);
    await until(async () => (await at.client.showSession(session)).running !== null);
    cancel.abort();
    await expect(call).rejects.toThrow();
    const [one] = (await at.client.history({ session })).executions;
    if (status === "interrupted") expect((await at.client.wait(one?.id ?? "")).status).toBe(status);
    else {
      expect((await at.client.wait(one?.id ?? "", 300)).status).toBe(status);
      await at.client.interrupt(one?.id ?? "");
    }
  });

  test("session, inspect and history", async () => {
    const name = `tour-${version}`;
    expect((await at_.call("session", { action: "create", name })).text).toMatch(
      new RegExp(`^${name} \\w+ python `),
    );
    await at_.call("execute_code", { code: "tour_value = {'a': [1, 2]}", session: name });
    expect((await at_.call("session", { action: "list" })).text).toContain(name);
    expect((await at_.call("inspect", { session: name })).text).toContain("tour_value: dict");
    const detail = await at_.call("inspect", { session: name, name: "tour_value", depth: 2 });
    expect(detail.text).toMatch(/tour_value: dict .*\n {2}.*a.*: list/);
    const found = await at_.call("history", { query: "tour_value", session: name, since: "1h" });
    expect(found.text).toMatch(/^exec_\w+ ok .* \| tour_value = \{'a': \[1, 2\]\}$/);
    const shown = await at_.call("history", { action: "show", id: found.text.split(" ")[0] });
    expect(shown.text).toContain("code:\ntour_value = {'a': [1, 2]}");
    const valued = await at_.call("history", { variable: "tour_value", where: "length = 1", session: name });
    expect(valued.text).toMatch(/^exec_\w+ ok .* → added tour_value: dict = \{'a': \[1, 2\]\}$/);
    expect((await at_.call("history", { where: "length > 1", session: name })).text).toBe(
      "Nothing was found.",
    );
    const absent = await at_.call("history", { session: "absent" });
    expect([absent.isError, absent.text]).toEqual([
      true,
      expect.stringContaining("There is no session `absent`"),
    ]);
    expect((await at_.call("session", { action: "reset", name })).isError).toBe(false);
    expect((await at_.call("session", { action: "close", name })).text).toContain("closed");
  });

  test("history exports a session as text, bounded and without images", async () => {
    const session = `export-${version}`;
    await at_.call("execute_code", { code: "kept = 1\nprint('out')", session });
    await at_.call("execute_code", {
      code: `import base64\nfrom IPython.display import Image\nImage(data=base64.b64decode("${PNG}"))`,
      session,
    });
    const whole = await at_.call("history", { action: "export", session });
    expect(whole.isError).toBe(false);
    expect(whole.content).toHaveLength(1);
    expect(whole.text).toMatch(
      /^# Session export-.*\n[\s\S]*```python\nkept = 1\nprint\('out'\)\n```\n\n```text\nout\n```/,
    );
    expect(whole.text).toContain("image/png, 70 bytes, is left out");
    expect(whole.text).not.toContain("data:image");
    const script = await at_.call("history", { action: "export", session, format: "py" });
    expect(script.text).toMatch(/^# Session [\s\S]*\n# %% exec_\w+ ok\nkept = 1\n/);
    await at_.call("execute_code", { code: "print('long ' * 20_000)\n# the end", session });
    const bounded = await at_.call("history", { action: "export", session, all: true });
    expect(bounded.text.length).toBeLessThan(20_100);
    expect(bounded.text).toMatch(/bytes left out …\n/);
    expect(bounded.content.at(-1)?.text).toBe(
      `This is a part of it. All of it, with images, for a person: execute-code history export --session ${session} --format md --all -o FILE`,
    );
  });

  test.each([
    ["execute_code", { code: "" }, "empty_code"],
    ["execute_code", { code: "1", language: "cobol", session: "cobol" }, "unknown_language"],
    ["execution", { id: "exec_01kb0000000000000000000000", action: "peek" }, "unknown_execution"],
    ["session", { action: "show" }, "invalid_request"],
    ["session", { action: "show", name: "absent" }, "unknown_session"],
    ["session", { action: "create", name: "d", options: { durability: "some" } }, "invalid_request"],
    ["inspect", { session: "absent" }, "unknown_session"],
    ["history", { action: "show" }, "invalid_request"],
    ["history", { since: "yesterday" }, "invalid_request"],
    ["history", { where: "rows >" }, "invalid_request"],
    ["history", { format: "md" }, "invalid_request"],
    ["history", { action: "export", format: "brief" }, "invalid_request"],
    ["history", { action: "export", session: "absent" }, "unknown_session"],
  ])("%s %j answers %s with its remedy", async (name, args, code) => {
    const answer = await at_.call(name, args);
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(new RegExp(`^error ${code}: .+\\n.+`));
  });

  test("files of a workspace as resources", async () => {
    const session = `files-${version}`;
    await at_.call("execute_code", {
      code: "import os\nos.mkdir('a b')\nopen('a b/한.txt', 'w').write('안녕')\nopen('raw', 'wb').write(b'\\0\\xff')\nos.symlink('/etc/passwd', 'l')",
      session,
    });
    const base = `execute-code://sessions/${session}/files`;
    const read = async (uri: string) =>
      (await at_.mcp.readResource({ uri })).contents[0] as { text?: string; blob?: string };
    expect(JSON.parse((await read(base)).text ?? "")).toMatchObject({
      entries: [{ path: "a b" }, { path: "l", type: "link" }, { path: "raw" }],
    });
    const folder = `${base}/${encodeURIComponent("a b")}`;
    expect(JSON.parse((await read(`${folder}/`)).text ?? "")).toMatchObject({
      entries: [{ path: "a b/한.txt" }],
    });
    expect((await read(`${folder}/${encodeURIComponent("한.txt")}`)).text).toBe("안녕");
    expect((await read(`${base}/raw`)).blob).toBe(Buffer.from([0, 0xff]).toString("base64"));
    for (const wrong of ["l", "absent", "..%2f..%2fhistory.db", "%2fetc%2fpasswd"]) {
      await expect(read(`${base}/${wrong}`)).rejects.toThrow();
    }
  });

  test("resources", async () => {
    const run = await at_.call("execute_code", {
      code: "import sys\nprint('o')\nprint('e', file=sys.stderr)",
      session: "세션",
    });
    const base = `execute-code://executions/${String(run.structured.execution_id)}`;
    const read = async (uri: string) => (await at_.mcp.readResource({ uri })).contents[0] as { text: string };
    expect((await read(`${base}/stdout`)).text).toBe("o\n");
    expect((await read(`${base}/stderr`)).text).toBe("e\n");
    expect((await read(`${base}/code`)).text).toContain("import sys");
    expect(JSON.parse((await read(`${base}/record`)).text)).toMatchObject({ stdout: "o\n" });
    const { resources } = await at_.mcp.listResources();
    const uri = resources.find((resource) => resource.name === "세션")?.uri ?? "";
    expect(uri).toBe(`execute-code://sessions/${encodeURIComponent("세션")}`);
    expect(JSON.parse((await read(uri)).text)).toMatchObject({ name: "세션" });
    const { resourceTemplates } = await at_.mcp.listResourceTemplates();
    expect(resourceTemplates.map((template) => template.uriTemplate)).toEqual([
      "execute-code://sessions/{name}",
      "execute-code://sessions/{name}/files",
      "execute-code://sessions/{name}/files/{+path}",
      "execute-code://executions/{id}/artifacts/{number}",
      "execute-code://executions/{id}/{part}",
    ]);
    for (const wrong of [
      `${base}/html`,
      `${base}/artifacts/9`,
      `${base}/artifacts/x`,
      "execute-code://sessions/absent",
    ]) {
      await expect(read(wrong)).rejects.toThrow();
    }
  });
});

describe("the server's life", () => {
  const alive = (pid: number) => {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false;
    }
  };

  test("lists its tools before there is a daemon, and starts one for a call", async () => {
    await at.client.stop({ drainMs: 0 });
    await using one = await host();
    expect((await one.mcp.listTools()).tools).toHaveLength(5);
    expect((await one.call("execute_code", { code: "1 + 1" })).structured.result).toBe("2");
  });

  test("goes on when the daemon died between calls", async () => {
    await using one = await host();
    await one.call("execute_code", { code: "x = 1" });
    const { pid } = await at.client.health();
    process.kill(pid, "SIGKILL");
    await until(() => !alive(pid));
    expect((await one.call("execute_code", { code: "1 + 1" })).structured.result).toBe("2");
  });

  test("ends when its input ends; what ran detached runs on", async () => {
    const one = await host();
    const session = "outlives";
    const call = one.call("execute_code", { code: "import time; time.sleep(1); 'survived'", session });
    call.catch(() => {});
    await until(async () =>
      (await at.client.sessions()).some((info) => info.name === session && info.running !== null),
    );
    await one[Symbol.asyncDispose]();
    await until(() => !alive(one.pid));
    const [execution] = (await at.client.history({ session })).executions;
    expect(await at.client.wait(execution?.id ?? "")).toMatchObject({
      status: "ok",
      result: { text: "'survived'" },
    });
  });
});

test("what its user grants holds for the sessions that it makes, and a model cannot ask for more", async () => {
  await using one = await host("legacy", ["--memory", "300MiB", "--wall", "1m"]);
  await one.call("execute_code", { code: "1", session: "made-by-code" });
  await one.call("session", {
    action: "create",
    name: "made-by-name",
    options: { profile: { memory_bytes: 2 ** 40 }, read: ["/etc"] },
  });
  for (const name of ["made-by-code", "made-by-name"]) {
    const { profile } = await at.client.showSession(name);
    expect(profile).toMatchObject({ memory_bytes: 300 * 1024 ** 2, wall_ms: 60_000, read: [] });
  }
  // A session of somebody else's is used as it is.
  await at.client.createSession({ name: "there-before" });
  const used = await one.call("execute_code", { code: "6 * 7", session: "there-before" });
  expect(used.isError).toBe(false);
  await one.call("session", { action: "close", name: "made-by-code" });
  const anew = await one.call("session", { action: "create", name: "made-by-code" });
  expect(anew.isError).toBe(false);
});
