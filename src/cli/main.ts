/** The command line: what there is to call. What a command does is loaded when it is called. */
import { readFileSync } from "node:fs";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { ExportFormat, OnError } from "../contract/api.ts";
import { LIMITS } from "../contract/limits.ts";
import {
  CapturePolicy,
  Durability,
  ExecutionStatus,
  IsolationTier,
  OnBusy,
  SnapshotPolicy,
} from "../contract/records.ts";
import { OnConflict, OnUnsafe } from "../contract/time-travel.ts";
import { parseDuration, parseInstant } from "../sdk/index.ts";
import { addGrantOptions } from "./grants.ts";
import { reportFailure, survivePipes } from "./terminal.ts";

const EXIT_STATUS = `
Exit status:
  0  ok
  1  the code raised, or ended its own process
  2  usage: something about the call is wrong
  3  timed out or interrupted
  4  the platform failed`;

function duration(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === null || milliseconds < 1 || milliseconds > 24 * 3_600_000) {
    throw new InvalidArgumentError("Give a duration from 1ms to 24h, such as 500ms, 30s, 2m or 1h.");
  }
  return milliseconds;
}

function instant(text: string): string {
  const moment = parseInstant(text);
  if (moment === null) {
    throw new InvalidArgumentError("Give an age such as 30m, 2h or 7d, or an ISO 8601 instant.");
  }
  return moment;
}

function integer(from: number, to: number, range = `${from} to ${to}`): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < from || value > to) {
      throw new InvalidArgumentError(`Give a whole number from ${range}.`);
    }
    return value;
  };
}

/** Gathers `NAME=VALUE` of every `--env`. */
function variable(text: string, earlier: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("Give NAME=VALUE.");
  return { ...earlier, [text.slice(0, at)]: text.slice(at + 1) };
}

function isolationOption(): Option {
  return new Option(
    "--isolation <tier>",
    "what stands around a new session's code (default: EXECUTE_CODE_ISOLATION, else the strongest there is)",
  ).choices(IsolationTier.options);
}

function onBusyOption(): Option {
  return new Option(
    "--on-busy <policy>",
    "when the session is busy: wait its turn, or be refused (default: wait)",
  ).choices(OnBusy.options);
}

function onUnsafeOption(otherwise: OnUnsafe): Option {
  return new Option(
    "--on-unsafe <policy>",
    "when the session holds threads, connections or processes, which a copy lacks",
  )
    .choices(OnUnsafe.options)
    .default(otherwise);
}

function httpOption(): Option {
  return new Option(
    "--http <address>",
    "serve HTTP on loopback, too: 127.0.0.1:PORT; callers need the token",
  );
}

/** The exit status of the command that ran. */
let exit: number | undefined;

/** Wraps a command's action, which answers the exit status. */
function action<A extends unknown[]>(act: (...given: A) => Promise<number>): (...given: A) => Promise<void> {
  return async (...given) => {
    exit = await act(...given);
  };
}

function jsonOption(description = "print one JSON document on stdout"): Option {
  return new Option("--json", description);
}

function program(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const root = new Command("execute-code")
    .description("The place where an AI's code lives: lasting, recorded, inspectable sessions.")
    .version(version)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, "execute-code: ")),
    })
    .addHelpText(
      "after",
      `
Examples:
  $ execute-code run -c 'x = 6 * 7'
  $ execute-code run -c x                      # another call, the same session: 42
  $ execute-code run analysis.py --session analysis --timeout 2m
  $ execute-code history --since 2h
  $ execute-code mcp                           # for an MCP host
${EXIT_STATUS}

Environment:
  EXECUTE_CODE_HOME    folder of all state
  EXECUTE_CODE_PYTHON  interpreter for new Python sessions (default: python3 on PATH)
  EXECUTE_CODE_ISOLATION  isolation of new sessions: sandbox, reduced or none (default: the strongest there is)
  NO_COLOR             no colours`,
    );

  addGrantOptions(root.command("run"))
    .summary("run code in a session")
    .description(
      "Runs code in a session that keeps its variables between calls. Output appears as it is written; the value of " +
        "the last expression is printed last. Without FILE and -c the code is read from standard input.",
    )
    .argument("[file]", "file with the code; - is standard input")
    .option("-c, --code <code>", "the code itself")
    .option("-s, --session <name>", "session; created when there is none of that name", "main")
    .option("-l, --language <language>", "language of a new session: python")
    .option("-t, --timeout <duration>", "interrupt the code after this time: 500ms, 30s, 2m, 1h", duration)
    .option(
      "-e, --env <name=value>",
      "an environment variable for this execution alone; may be repeated",
      variable,
    )
    .option("--input-timeout <duration>", "how long input() waits for an answer (default: 10s)", duration)
    .option("--fresh", "start the session anew: its variables are dropped")
    .addOption(
      new Option(
        "--on-error <what>",
        "when the code fails: keep what it changed in memory, or rollback to the memory before it",
      ).choices(OnError.options),
    )
    .addOption(onBusyOption())
    .addOption(isolationOption())
    .addOption(
      new Option(
        "--durability <level>",
        "what the record survives: power loss, or the end of the process",
      ).choices(Durability.options),
    )
    .addOption(jsonOption("print the record as one JSON document on stdout, and nothing else"))
    .addHelpText(
      "after",
      `
Examples:
  $ execute-code run -c 'import math; math.pi'
  $ execute-code run script.py --session analysis --timeout 5m
  $ echo 'print(1)' | execute-code run -
  $ execute-code run -c '1/0' --json | jq .error

input() reads standard input, unless the code came from there; \`execution input\` answers, too.
Ctrl-C interrupts the code and waits for its record; a second Ctrl-C leaves at once.
${EXIT_STATUS}`,
    )
    .action(action(async (file, flags) => (await import("./run.ts")).run(file, flags)));

  addGrantOptions(root.command("repl"))
    .summary("work in a session, cell after cell")
    .description(
      "A lasting REPL: history, completion, cells of many lines, interrupts. The session lives on when it is left.",
    )
    .option("-s, --session <name>", "session; created when there is none of that name", "main")
    .option("-l, --language <language>", "language of a new session: python")
    .addOption(isolationOption())
    .addOption(
      jsonOption("for programs: a request as one line of JSON in, events and answers as lines of JSON out"),
    )
    .addHelpText(
      "after",
      `
Examples:
  $ execute-code repl
  $ execute-code repl --session analysis --read ~/data
  $ printf '%s\\n' '{"code": "x = 6 * 7"}' '{"code": "x"}' | execute-code repl --json

Exit status: 0 when the input ends; 3 when it is left while code runs; 4 when the platform failed.`,
    )
    .action(action(async (flags) => (await import("./repl/repl.ts")).repl(flags)));

  const execution = root
    .command("execution")
    .description("Follows, answers and stops an execution that runs on.");
  const offset = () =>
    new Option("--offset <n>", "only what came after this offset")
      .argParser(integer(0, Number.MAX_SAFE_INTEGER))
      .default(0);
  execution
    .command("peek")
    .description("Shows its output so far and how it stands.")
    .argument("<id>")
    .addOption(offset())
    .addOption(jsonOption("print the record so far as one JSON document on stdout, and nothing else"))
    .action(action(async (id, flags) => (await import("./execution.ts")).peek(id, flags)));
  execution
    .command("wait")
    .description("Shows its output to its end. The exit status is that of `run`; 3 when the time is over.")
    .argument("<id>")
    .addOption(offset())
    .option("-t, --timeout <duration>", "wait no longer than this; the execution goes on", duration)
    .addOption(jsonOption("print the record as one JSON document on stdout, and nothing else"))
    .action(action(async (id, flags) => (await import("./execution.ts")).wait(id, flags)));
  execution
    .command("interrupt")
    .description("Interrupts it, or withdraws it from the queue.")
    .argument("<id>")
    .addOption(jsonOption())
    .action(action(async (id, flags) => (await import("./execution.ts")).interrupt(id, flags)));
  execution
    .command("kill")
    .description(
      "Kills the kernel that runs it, with everything it started: the session's variables are lost.",
    )
    .argument("<id>")
    .addOption(jsonOption())
    .action(action(async (id, flags) => (await import("./execution.ts")).kill(id, flags)));
  execution
    .command("input")
    .description("Answers the question that it waits with.")
    .argument("<id>")
    .argument("[text]", "one line")
    .option("--eof", "say that there is no more input: input() raises EOFError")
    .addOption(jsonOption())
    .action(action(async (id, text, flags) => (await import("./execution.ts")).input(id, text, flags)));

  addGrantOptions(root.command("mcp"))
    .summary("serve MCP on standard input and output")
    .description("Serves the Model Context Protocol on standard input and output, until the input ends.")
    .addHelpText(
      "after",
      `
Example of a host's configuration:
  {"mcpServers": {"execute-code": {"command": "npx", "args": ["execute-code", "mcp", "--read", "/home/me/data"]}}}

What is granted here holds for the sessions that this server makes; a model cannot ask for more.`,
    )
    .action(action(async (flags) => (await import("./mcp.ts")).mcp(flags)));

  const daemon = root
    .command("daemon")
    .description("Runs, starts, stops and shows the daemon that owns the sessions.");
  daemon
    .command("run")
    .description("Runs the daemon in the foreground.")
    .addOption(httpOption())
    .action(action(async (flags) => (await import("./daemon-run.ts")).runDaemon(flags)));
  daemon
    .command("start")
    .description("Starts the daemon in the background, unless it runs.")
    .addOption(httpOption())
    .addOption(jsonOption())
    .action(action(async (flags) => (await import("./daemon.ts")).start(flags)));
  daemon
    .command("stop")
    .description("Stops the daemon, and with it every session's kernel. Histories stay.")
    .option("--drain <duration>", "time that running executions get to end (default: 5s)", duration)
    .addOption(jsonOption())
    .action(action(async (flags) => (await import("./daemon.ts")).stop(flags)));
  daemon
    .command("status")
    .description("Shows the daemon's figures. Exit status 4 when none runs.")
    .addOption(jsonOption())
    .action(action(async (flags) => (await import("./daemon.ts")).status(flags)));

  const session = root
    .command("session")
    .description("Lists, creates, shows, forks, rolls back, resets and closes sessions.");
  session
    .command("list")
    .description("Lists the sessions, most recently used first.")
    .option("--closed", "the closed ones too")
    .addOption(jsonOption())
    .action(action(async (flags) => (await import("./session.ts")).list(flags)));
  addGrantOptions(session.command("create"))
    .description("Creates a session. Running code creates one by name, too.")
    .argument("[name]", "its name (default: one is made up)")
    .option("-l, --language <language>", "python")
    .option("--python <interpreter>", "Python interpreter (default: EXECUTE_CODE_PYTHON, else the daemon's)")
    .addOption(new Option("--durability <level>").choices(Durability.options))
    .addOption(
      new Option(
        "--snapshots <policy>",
        "live snapshots: after changes, or only named ones (default: changes)",
      ).choices(SnapshotPolicy.options),
    )
    .addOption(
      new Option(
        "--capture <policy>",
        "variables go to the disk when the session is idle, or only when named (default: idle)",
      ).choices(CapturePolicy.options),
    )
    .addOption(onBusyOption())
    .addOption(isolationOption())
    .addOption(jsonOption())
    .action(action(async (name, flags) => (await import("./session.ts")).create(name, flags)));
  session
    .command("install")
    .description(
      "Installs packages into a session's own environment, from the package index; usable at once.",
    )
    .argument("<name>")
    .argument("<packages...>", "names, with versions where they matter: numpy 'pandas>=2'")
    .option("-U, --upgrade", "newer versions of what is there already, too")
    .option("-t, --timeout <duration>", "how long it may take (default: 10m)", duration)
    .addOption(jsonOption())
    .action(
      action(async (name, packages, flags) => (await import("./session.ts")).install(name, packages, flags)),
    );
  session
    .command("show")
    .description("Shows a session.")
    .argument("<name>")
    .addOption(jsonOption())
    .action(action(async (name, flags) => (await import("./session.ts")).show(name, flags)));
  session
    .command("fork")
    .description("Makes new sessions with copies of a session's memory. They share its workspace.")
    .argument("<name>")
    .argument("[names...]", "names of the new sessions (default: the session's, with numbers)")
    .option("-n, --count <count>", "how many", integer(1, 200))
    .option("--from <snapshot>", "a snapshot's id or name, or an execution whose state one holds")
    .addOption(onUnsafeOption("refuse"))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  $ execute-code session fork analysis what-if\n  $ execute-code session fork analysis -n 4\n  $ execute-code session fork analysis retry --from before-cleaning",
    )
    .action(action(async (name, names, flags) => (await import("./branches.ts")).fork(name, names, flags)));
  session
    .command("snapshot")
    .description("Keeps a session's memory as it is now, to go back to or to fork from as often as wanted.")
    .argument("<name>")
    .argument("[snapshot]", "its name")
    .option("--drop <snapshot>", "give up this one instead, by id or name")
    .addOption(onUnsafeOption("warn"))
    .addOption(jsonOption())
    .action(
      action(async (name, snapshot, flags) =>
        (await import("./branches.ts")).snapshot(name, snapshot, flags),
      ),
    );
  session
    .command("snapshots")
    .description("Lists a session's live snapshots, newest first.")
    .argument("<name>")
    .addOption(jsonOption())
    .action(action(async (name, flags) => (await import("./branches.ts")).snapshots(name, flags)));
  session
    .command("rollback")
    .description(
      "Makes a session's memory what it was. Files stay as they are; the history keeps everything.",
    )
    .argument("<name>")
    .argument(
      "[to]",
      "a snapshot's id or name, or an execution whose state one holds (default: before the last execution that changed something)",
    )
    .addOption(jsonOption())
    .action(action(async (name, to, flags) => (await import("./branches.ts")).rollback(name, to, flags)));
  session
    .command("merge")
    .description(
      "Brings variables of another session into this one: of a fork, those that this one has not changed since.",
    )
    .argument("<name>")
    .argument("<from>", "the session that they come from")
    .argument("<variables...>")
    .addOption(
      new Option("--on-conflict <policy>", "when this session has changed them, too")
        .choices(OnConflict.options)
        .default("refuse"),
    )
    .addOption(jsonOption())
    .action(
      action(async (name, from, variables, flags) =>
        (await import("./merge.ts")).merge(name, from, variables, flags),
      ),
    );
  session
    .command("diff")
    .description("Compares the variables of two sessions.")
    .argument("<name>")
    .argument("<other>")
    .option("--all", "also those that are the same")
    .addOption(jsonOption())
    .action(action(async (name, other, flags) => (await import("./merge.ts")).diff(name, other, flags)));
  session
    .command("capture")
    .description(
      "Writes a session's variables to the disk now. The daemon does so by itself when a session is idle.",
    )
    .argument("<name>")
    .argument("[capture]", "its name; captures with a name are kept")
    .addOption(jsonOption())
    .action(
      action(async (name, label, flags) => (await import("./captures.ts")).capture(name, label, flags)),
    );
  session
    .command("captures")
    .description("Lists what the disk has of a session's variables, newest first.")
    .argument("<name>")
    .addOption(jsonOption())
    .action(action(async (name, flags) => (await import("./captures.ts")).captures(name, flags)));
  session
    .command("restore")
    .description(
      "Brings back the variables of a session whose kernel is gone, as its next use does; or the state of a capture.",
    )
    .argument("<name>")
    .argument("[capture]", "a capture's id or name: its state in place of the session's")
    .option(
      "--effects",
      "run again whatever is needed, also what wrote files, used the network, or started processes",
    )
    .addOption(jsonOption())
    .action(action(async (name, from, flags) => (await import("./captures.ts")).restore(name, from, flags)));
  addGrantOptions(session.command("import"))
    .description(
      "Makes a session of a Jupyter notebook: runs its code cells in order, until one fails. Exit status as of run.",
    )
    .argument("<file>", "the notebook, nbformat 4")
    .argument("[name]", "the session's name (default: the file's)")
    .option("--keep-going", "run the other cells, too, when one fails")
    .option("-t, --timeout <duration>", "interrupt a cell after this time", duration)
    .option("--python <interpreter>", "Python interpreter (default: EXECUTE_CODE_PYTHON, else the daemon's)")
    .addOption(isolationOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  $ execute-code session import analysis.ipynb\n  $ execute-code session import analysis.ipynb again --keep-going --read /data",
    )
    .action(
      action(async (file, name, flags) => (await import("./import.ts")).importNotebook(file, name, flags)),
    );
  session
    .command("reset")
    .description("Gives a session a new kernel: its variables are dropped, its history stays.")
    .argument("<name>")
    .addOption(jsonOption())
    .action(action(async (name, flags) => (await import("./session.ts")).reset(name, flags)));
  session
    .command("close")
    .description("Ends a session and everything it started; its history stays.")
    .argument("<name>")
    .addOption(jsonOption())
    .action(action(async (name, flags) => (await import("./session.ts")).close(name, flags)));
  session
    .command("files")
    .description("Lists the files of a session's workspace, or of a folder in it. Links are not followed.")
    .argument("<name>")
    .argument("[path]", "folder in the workspace")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  $ execute-code session files analysis\n  $ execute-code session files analysis plots --json",
    )
    .action(action(async (name, path, flags) => (await import("./files.ts")).files(name, path, flags)));
  session
    .command("upload")
    .description(
      "Puts a file into a session's workspace, whole or not at all; one that is there is replaced.",
    )
    .argument("<name>")
    .argument("<file>", "file of this machine; - is standard input")
    .argument("[path]", "where in the workspace; with / at its end, a folder (default: the file's name)")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ execute-code session upload analysis sales.csv
  $ execute-code session upload analysis sales.csv data/
  $ pg_dump shop | execute-code session upload analysis - shop.sql`,
    )
    .action(
      action(async (name, file, path, flags) => (await import("./files.ts")).upload(name, file, path, flags)),
    );
  session
    .command("download")
    .description("Brings a file of a session's workspace to this machine. Links are not followed.")
    .argument("<name>")
    .argument("<path>", "file in the workspace")
    .argument("[file]", "where to; - is standard output (default: the file's name, in this folder)")
    .option("-f, --force", "replace a file that is there")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ execute-code session download analysis plots/sales.png
  $ execute-code session download analysis result.json - | jq .total`,
    )
    .action(
      action(async (name, path, file, flags) =>
        (await import("./files.ts")).download(name, path, file, flags),
      ),
    );

  root
    .command("inspect")
    .summary("show a session's variables")
    .description(
      "Shows a session's variables, or one of them more closely: type, shape, size and a bounded preview.",
    )
    .argument("[variable]")
    .option("-s, --session <name>", "session", "main")
    .option("--depth <levels>", "how many levels of the variable's parts, 0 to 4", integer(0, 4), 1)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  $ execute-code inspect --session analysis\n  $ execute-code inspect df --session analysis --depth 2",
    )
    .action(action(async (variable, flags) => (await import("./inspect.ts")).inspect(variable, flags)));

  const history = root
    .command("history")
    .summary("search what was run")
    .description("Searches what was run, newest first: all words must occur, in code, output or error.")
    .enablePositionalOptions()
    .argument("[query]", "words; “quotes” keep words together, parts of words match")
    .option("-s, --session <name>", "only this session")
    .addOption(new Option("--status <status>", "only this status").choices(ExecutionStatus.options))
    .option("--since <age>", "only from then on: 30m, 2h, 7d, or an ISO 8601 instant", instant)
    .option("--variable <name>", "only what added, changed or deleted this variable")
    .option(
      "--where <condition>",
      "only changes of variables such as 'rows > 1000 and type = DataFrame'; fields: type, preview, value, length, rows, columns, change",
    )
    .option("--tree", "the lines of a session's executions (default: of main), with abandoned ones and forks")
    .option(
      "--limit <count>",
      "at most this many, to 500 (default: 50; with --tree: all)",
      integer(1, 1_000_000, `1 to ${LIMITS.historyPageMax}, or more with --tree`),
    )
    .option("--cursor <cursor>", "where the page before ended")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  $ execute-code history --status error --since 1d\n  $ execute-code history 'read_csv sales'\n  $ execute-code history --variable df --where 'rows > 1000'\n  $ execute-code history --tree --session analysis\n  $ execute-code history show exec_…",
    )
    .action(action(async (query, flags) => (await import("./history.ts")).search(query, flags)));
  history
    .command("replay")
    .description(
      "Runs past executions of a session again, in order, in another session, and says whether they did the same.",
    )
    .argument("[ids...]", "executions (default: the session's line, from --from to --to)")
    .option("-s, --session <name>", "session (default: that of the first id, else main)")
    .option("--from <id>", "the first execution of the line")
    .option("--to <id>", "the last execution of the line")
    .option("--into <session>", "where to run them (default: a new session)")
    .option("--effects", "also those that wrote files, used the network, or started processes")
    .option("--keep-going", "go on after one that fails where it did not before")
    .addOption(jsonOption())
    .action(action(async (ids, flags) => (await import("./past.ts")).replay(ids, flags)));
  history
    .command("bisect")
    .description("Names the execution after which an expression that was true no longer is.")
    .argument("<predicate>", "a Python expression over the session's variables")
    .option("-s, --session <name>", "session", "main")
    .option("--good <id>", "an execution after which it held (default: it is looked for)")
    .option("--bad <id>", "an execution after which it did not (default: the head)")
    .option("-t, --timeout <duration>", "how long one evaluation may take (default: 30s)", duration)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExample:\n  $ execute-code history bisect --session analysis 'df.price.min() >= 0'",
    )
    .action(action(async (predicate, flags) => (await import("./past.ts")).bisect(predicate, flags)));
  history
    .command("show")
    .description("Shows the record of one execution.")
    .argument("<id>")
    .addOption(jsonOption())
    .action(action(async (id, flags) => (await import("./history.ts")).show(id, flags)));

  history
    .command("export")
    .summary("write a session's history as a notebook, Markdown, JSON lines or a script")
    .description(
      "Writes the executions of a session's current line, oldest first: what led to its variables as they are. Closed sessions, too.",
    )
    .option("-s, --session <name>", "session, by name or id", "main")
    .addOption(
      new Option("--format <format>", "what to write (default: as the file's name says)").choices(
        ExportFormat.options,
      ),
    )
    .option("--all", "also executions of abandoned lines")
    .option("--no-images", "leave images out, with a note")
    .option("-o, --output <file>", "where to; - is standard output", "-")
    .option("-f, --force", "replace a file that is there")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  $ execute-code history export --session analysis -o analysis.ipynb\n  $ execute-code history export --format py > main.py\n  $ execute-code history export --format jsonl --all | jq .status",
    )
    .action(action(async (flags) => (await import("./export.ts")).exportHistory(flags)));

  root
    .command("doctor")
    .summary("check what works here")
    .description(
      "Checks what works here, what does not, and says what to do. Exit status 4 when something failed.",
    )
    .addOption(jsonOption())
    .action(action(async (flags) => (await import("./doctor.ts")).doctor(flags)));

  return root;
}

survivePipes();
try {
  await program().parseAsync();
  process.exitCode = exit ?? 0;
} catch (error) {
  const usage = error instanceof CommanderError;
  if (usage && error.exitCode === 0) process.exitCode = 0;
  else process.exitCode = reportFailure(error, { json: process.argv.includes("--json"), printed: usage });
}
