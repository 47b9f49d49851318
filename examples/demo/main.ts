/**
 * The main job, end to end: what an assistant does with execute-code, through a real MCP client over stdio.
 * It studies the source of the Python standard library on this machine, in several calls of one lasting session.
 * Every step checks what came back; the exit status is 1 when one did not hold.
 *
 * Run it with `npm run demo`. It uses a home of its own and leaves nothing behind.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type CallToolResult, Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { ExecuteCodeOutput } from "../../src/contract/tools.ts";
import { connect } from "../../src/sdk/index.ts";
import { cells } from "./cells.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/execute-code.js", import.meta.url));
const SESSION = "stdlib-study";
const TOOLS = ["execute_code", "execution", "session", "inspect", "history"];
const home = mkdtempSync(path.join(tmpdir(), "execute-code-demo-"));
const colour = process.stdout.isTTY && process.env.NO_COLOR === undefined;
const paint = (code: number, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
const indent = (text: string, by: string): string => text.trim().replaceAll(/^/gm, by);

const failures: string[] = [];
function check(what: string, holds: boolean): void {
  console.log(`  ${holds ? paint(32, "✓") : paint(31, "✗")} ${what}`);
  if (!holds) failures.push(what);
}

function heading(text: string): void {
  console.log(`\n${paint(1, text)}`);
}

/** An MCP host's end: starts `execute-code mcp`, as the host's configuration would. */
/** Where the machine offers no isolation, the demo asks to run without; it says so below. */
async function chooseIsolation(): Promise<void> {
  await using client = await connect({ home });
  if ((await client.health()).isolation === null) process.env.EXECUTE_CODE_ISOLATION = "none";
}

async function openHost(): Promise<{ client: Client; transport: StdioClientTransport }> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [PROGRAM, "mcp"],
    env: { ...(process.env as Record<string, string>), EXECUTE_CODE_HOME: home },
  });
  const client = new Client({ name: "demo", version: "1" });
  await client.connect(transport);
  return { client, transport };
}

interface Answer {
  readonly text: string;
  readonly isError: boolean;
  readonly output: ExecuteCodeOutput;
}

function textOf(result: CallToolResult): string {
  return result.content.map((part) => (part.type === "text" ? part.text : "")).join("\n");
}

async function execute(client: Client, code: string, session = SESSION): Promise<Answer> {
  console.log(paint(2, indent(code, "    │ ")));
  const result = (await client.callTool(
    { name: "execute_code", arguments: { code, session, timeout_ms: 120_000 } },
    {
      onprogress: ({ progress, total, message }) => {
        const of = total === undefined ? "" : ` of ${total}`;
        console.log(paint(2, `    … ${progress}${of} ${message ?? ""}`));
      },
      resetTimeoutOnProgress: true,
    },
  )) as CallToolResult;
  const text = textOf(result);
  console.log(indent(text, "    "));
  return {
    text,
    isError: result.isError === true,
    output: ExecuteCodeOutput.parse(result.structuredContent),
  };
}

/** The daemon's process, once it has written down what the session holds. */
async function daemonPid(): Promise<number> {
  await using client = await connect({ home, start: false });
  await client.capture(SESSION);
  return (await client.health()).pid;
}

async function callText(client: Client, name: string, args: Record<string, unknown>): Promise<string> {
  const text = textOf((await client.callTool({ name, arguments: args })) as CallToolResult);
  console.log(indent(text, "    "));
  return text;
}

async function demo(): Promise<void> {
  await chooseIsolation();
  heading("An assistant's code, living in a session");
  console.log("An MCP client starts `execute-code mcp`, as a desktop app or an editor would.");
  let { client, transport } = await openHost();
  const offered = (await client.listTools()).tools.map((tool) => tool.name);
  console.log(`It offers: ${offered.join(", ")}.`);
  check(
    "the tools are there",
    TOOLS.every((name) => offered.includes(name)),
  );

  heading("1. Load: parse the source of the standard library");
  const load = await execute(client, cells.load);
  check("it ran", load.output.status === "ok");
  check("the call left variables behind", load.output.variables.added.includes("trees"));
  if (load.text.includes("isolation=none")) {
    const warning =
      "Isolation: none. Session code runs with your own rights here; run only what you would run yourself.";
    console.log(paint(33, `  ! ${warning}`));
  }

  heading("2. Measure: a later call uses the variables of the first");
  const measure = await execute(client, cells.measure);
  check(
    "it used what the first call left",
    measure.output.status === "ok" && measure.output.revision === load.output.revision + 1,
  );
  check("its last expression came back as the result", /\d+ functions/.test(measure.output.result ?? ""));

  heading("3. A mistake: it is reported, and nothing is lost");
  const mistake = await execute(client, cells.mistake);
  const { error } = mistake.output;
  check(
    "the error names its kind and its line",
    mistake.isError && error?.type === "AttributeError" && error.line === 2,
  );
  check("the variables were kept", mistake.output.state === "retained");

  heading("4. Recover: look at the variable, then correct the code");
  const seen = await callText(client, "inspect", { session: SESSION, name: "functions" });
  check("inspect says what it is", seen.includes("list"));
  const table = await execute(client, cells.table);
  check("a table came back as Markdown", table.output.status === "ok" && table.text.includes("| module |"));

  heading("5. The MCP server is killed; the session lives on");
  console.log(`    SIGKILL to process ${transport.pid}; then a new MCP server is started`);
  process.kill(transport.pid!, "SIGKILL");
  await client.close();
  ({ client, transport } = await openHost());
  const after = await execute(client, cells.after);
  check(
    "its variables are all there",
    after.output.status === "ok" &&
      after.output.state === "retained" &&
      after.output.revision === table.output.revision + 1,
  );

  heading("6. A blunder is undone: the memory goes back");
  await execute(client, cells.blunder);
  const back = await callText(client, "session", { action: "rollback", name: SESSION });
  check(
    "the session says what it is as after",
    back.includes(`variables are as after ${after.output.execution_id}`),
  );
  const undone = await execute(client, cells.after);
  check("everything is there again", undone.output.result === after.output.result);

  heading("7. A risky idea is tried in a copy, and what is good of it is merged");
  await callText(client, "session", { action: "fork", name: SESSION, options: { names: ["idea"] } });
  await execute(client, cells.idea, "idea");
  await callText(client, "session", {
    action: "merge",
    name: SESSION,
    options: { from: "idea", variables: ["risky"] },
  });
  const merged = await execute(client, cells.merged);
  check(
    "the idea's result came, its damage did not",
    merged.output.status === "ok" && /^\([1-9]\d*, [1-9]\d*, True\)$/.test(merged.output.result ?? ""),
  );

  heading("8. The daemon is killed, and every process with it");
  console.log("    when the session has been idle for a moment, its variables are on the disk");
  const pid = await daemonPid();
  console.log(`    SIGKILL to process ${pid}; the next call starts another daemon`);
  process.kill(pid, "SIGKILL");
  const restored = await execute(client, cells.merged);
  check(
    "the variables came back, and it says so",
    restored.output.state === "restored" && restored.output.result === merged.output.result,
  );

  heading("9. Nothing is forgotten: search the history");
  const found = await callText(client, "history", { query: "cyclomat", limit: 5 });
  check("a part of a word in the code finds its execution", found.includes(measure.output.execution_id));
  const errors = await callText(client, "history", { status: "error" });
  check("the mistake is on record, by its id", errors.includes(mistake.output.execution_id));
  const shown = await callText(client, "session", { action: "show", name: SESSION });
  check("the session tells its state", shown.includes(SESSION));
  await client.close();
}

async function cleanUp(): Promise<void> {
  try {
    await using client = await connect({ home, start: false });
    await client.stop();
  } catch (error) {
    // When the first step failed already, no daemon runs.
    if (failures.length === 0) throw error;
  }
  rmSync(home, { recursive: true, force: true });
}

try {
  await demo();
} catch (error) {
  console.error(error);
  failures.push(String(error));
}
await cleanUp();
if (failures.length > 0) {
  console.error(`\n${paint(31, `${failures.length} steps did not hold:`)}\n  ${failures.join("\n  ")}`);
  process.exitCode = 1;
} else {
  heading("All steps held.");
  console.log("Give your own assistant such a workspace: the README has the snippet for each MCP host.");
  console.log("Or try it here:");
  console.log("  npx execute-code run -c 'x = 41'");
  console.log("  npx execute-code run -c 'x + 1'");
}
