/** `repl`: a session at a terminal, cell after cell. It lives on when the terminal goes away. */
import { styleText } from "node:util";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { ExecutionEvent } from "../../contract/events.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { InputRequest, SessionInfo } from "../../contract/records.ts";
import { type Client, type Completion, createClient, formatDuration } from "../../sdk/index.ts";
import { Screen, showEvents } from "../show.ts";
import { aside, displayWidth, note, reportFailure, usageError } from "../terminal.ts";
import { COMMAND_NAMES, isCommand, runCommand } from "./commands.ts";
import { columnsOf, Drawing, type Picture } from "./drawing.ts";
import { Editor, type Wish } from "./editor.ts";
import { type ReplFlags, wantedOf } from "./flags.ts";
import { History } from "./history.ts";
import { CTRL_C, isCtrl, type Key, Terminal } from "./terminal.ts";

/** An execution that took longer is said to. */
const LONG_MS = 5_000;
const LEAVING = new Set(["exit", "exit()", "quit", "quit()"]);

export async function repl(flags: ReplFlags): Promise<number> {
  if (flags.json) return (await import("./json.ts")).jsonRepl(flags);
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw usageError(
      "The REPL needs a terminal.",
      "Give --json for lines of JSON; for code on standard input there is `execute-code run -`.",
    );
  }
  await using client = createClient({ client: "cli" });
  return await new Repl(client, flags).run();
}

class Repl {
  readonly #client: Client;
  readonly #flags: ReplFlags;
  readonly #terminal = new Terminal();
  readonly #history: History;
  #session: string;
  #revision = 0;
  /** Draws the text that is being typed again, when there is one. */
  #redraw: (() => void) | null = null;
  /** Takes an answer that is being typed away. */
  #erase: (() => void) | null = null;

  constructor(client: Client, flags: ReplFlags) {
    this.#client = client;
    this.#flags = flags;
    this.#session = flags.session;
    this.#history = new History(client.home);
  }

  async run(): Promise<number> {
    const info = await this.#open(this.#session);
    this.#openHistory();
    aside(describe(info));
    this.#terminal.onResize = () => this.#redraw?.();
    process.on("SIGINT", () => this.#terminal.press(CTRL_C));
    for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => this.#leave());
    this.#terminal.open();
    try {
      for (;;) {
        const text = await this.#read();
        if (text === null) return 0;
        if (text.trim() === "") continue;
        this.#history.add(text);
        if (LEAVING.has(text.trim()) || !(await this.#do(text))) return 0;
      }
    } finally {
      this.#terminal.close();
    }
  }

  /** At once; what runs goes on. */
  #leave(): never {
    this.#terminal.close();
    process.exit(3);
  }

  #openHistory(): void {
    try {
      this.#history.open();
    } catch (error) {
      note(`What you type is not kept: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  // ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────

  /** The session of this name, which is made when there is none. */
  async #open(name: string): Promise<SessionInfo> {
    try {
      const info = await this.#find(name);
      if (info.state !== "closed") return info;
      throw new ExecuteCodeError("session_closed", { message: `The session ${info.name} is closed.` });
    } catch (error) {
      if (!isOf(error, "unknown_session")) throw error;
    }
    try {
      return await this.#client.createSession({ name, ...wantedOf(this.#flags) });
    } catch (error) {
      if (!isOf(error, "session_exists")) throw error;
      return await this.#find(name);
    }
  }

  async #find(name: string): Promise<SessionInfo> {
    const info = await this.#client.showSession(name);
    this.#revision = info.revision;
    return info;
  }

  async #enter(name: string): Promise<void> {
    const info = await this.#open(name);
    this.#session = info.name;
    this.#revision = info.revision;
    aside(describe(info));
  }

  // ── typing ────────────────────────────────────────────────────────────────────────────────────────────────

  /** What is typed at the prompt, whole; null when nothing more comes. */
  async #read(): Promise<string | null> {
    const editor = new Editor(this.#history.entries);
    const drawing = new Drawing(this.#terminal);
    let below: readonly string[] = [];
    const picture = (): Picture => this.#picture(editor, below);
    this.#redraw = () => drawing.draw(picture());
    try {
      this.#redraw();
      for (;;) {
        const key = await this.#terminal.next();
        if (key === null) return null;
        below = [];
        const wish = editor.press(key);
        switch (wish) {
          case "enter": {
            const { whole, remark } = await this.#judge(editor);
            if (whole) {
              drawing.finish(picture());
              return editor.text.replace(/\n\s*$/, "");
            }
            below = remark === null ? [] : [remark];
            break;
          }
          case "complete":
            below = await this.#complete(editor);
            break;
          case "cancel":
            drawing.finish(picture());
            return "";
          case "end":
            drawing.finish(picture());
            return null;
          case "clear":
            process.stdout.write("\u001b[H\u001b[2J");
            break;
          case "suspend":
            drawing.finish(picture());
            await this.#terminal.suspend();
            break;
          default:
            break;
        }
        if (this.#terminal.pending === 0) this.#redraw();
      }
    } catch (error) {
      drawing.finish(picture());
      throw error;
    } finally {
      this.#redraw = null;
    }
  }

  #picture(editor: Editor, below: readonly string[]): Picture {
    const { text, cursor, search } = editor;
    const plain =
      search === null
        ? `${this.#session}:${this.#revision}> `
        : `${search.found ? "" : "not found, "}search \`${search.query}\`: `;
    const stream = process.stdout;
    const indented = "... ".padStart(displayWidth(plain));
    return {
      prompt: styleText(search === null ? ["bold", "green"] : "dim", plain, { stream }),
      continuation: styleText("dim", indented, { stream }),
      text,
      cursor,
      below,
    };
  }

  /** Whether Enter runs the text; else it has got another line, and there may be something to say about that. */
  async #judge(editor: Editor): Promise<{ whole: boolean; remark: string | null }> {
    const { text } = editor;
    if (isCommand(text) || editor.recalled || text.trim() === "" || LEAVING.has(text.trim())) {
      return { whole: true, remark: null };
    }
    if (!editor.atEnd) {
      editor.insert("\n");
      return { whole: false, remark: null };
    }
    const judged = await this.#ask(text, null);
    const here = typeof judged === "string";
    const { status, indent } = here ? judgedHere(text) : judged;
    if (status !== "incomplete") return { whole: true, remark: null };
    // What follows at once was not typed by hand, and has its own margin.
    editor.insert(`\n${this.#terminal.pending > 0 ? "" : indent}`);
    return { whole: false, remark: here ? `${judged} An empty line ends the cell.` : null };
  }

  /** Puts in what all matches begin with; else gives them, to be shown. */
  async #complete(editor: Editor): Promise<readonly string[]> {
    const { text, cursor } = editor;
    const found = isCommand(text) ? completeCommand(text.slice(0, cursor)) : await this.#ask(text, cursor);
    if (typeof found === "string") return [found];
    const { matches, start } = found;
    if (matches.length === 0) return [];
    const begun = text.slice(start, cursor);
    const common = commonBeginning(matches);
    if (common.length > begun.length || matches.length === 1) {
      editor.insert(common, start);
      return [];
    }
    return columnsOf(matches, this.#terminal.columns, Math.max(3, Math.floor(this.#terminal.rows / 2)));
  }

  /** What the session's kernel knows of some code; or why it does not tell. */
  async #ask(code: string, cursor: number | null): Promise<Completion | string> {
    try {
      return await this.#client.complete(this.#session, code, cursor, { start: true });
    } catch (error) {
      if (error instanceof ExecuteCodeError) return error.message;
      throw error;
    }
  }

  // ── running ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Does a command or runs a cell; false when the REPL ends. */
  async #do(text: string): Promise<boolean> {
    try {
      if (isCommand(text)) {
        const goesOn = await runCommand(text, {
          session: this.#session,
          enter: (name) => this.#enter(name),
        });
        if (goesOn) await this.#find(this.#session);
        return goesOn;
      }
      await this.#runCell(text);
    } catch (error) {
      reportFailure(error, { json: false, printed: false });
    }
    return true;
  }

  async #runCell(code: string): Promise<void> {
    const stop = new AbortController();
    const ended = new AbortController();
    const screen = new Screen();
    this.#terminal.onKey = (key) => this.#pressWhileRunning(key, stop, screen);
    const events = this.#client.stream({
      code,
      session: this.#session,
      ...(this.#session === this.#flags.session ? wantedOf(this.#flags) : {}),
      timeoutMs: LIMITS.longestMs,
      inputTimeoutMs: LIMITS.longestMs,
      signal: stop.signal,
    });
    let answering: Promise<void> = Promise.resolve();
    try {
      const record = await showEvents(this.#client, this.#beside(events, screen), {
        screen,
        onQuestion: (id, question) => {
          answering = answering.then(() => this.#answer(id, question, screen, ended.signal));
        },
      });
      // What was withdrawn before it ran has none.
      if (record.revision > 0) this.#revision = record.revision;
      if (record.duration_ms >= LONG_MS) aside(formatDuration(record.duration_ms));
    } finally {
      ended.abort();
      await answering;
      this.#terminal.onKey = null;
      if (screen.isOpen) process.stdout.write("\n");
    }
  }

  #pressWhileRunning(key: Key, stop: AbortController, screen: Screen): boolean {
    if (isCtrl(key, "z")) {
      void this.#terminal.suspend();
      return true;
    }
    if (!isCtrl(key, "c")) return false;
    if (stop.signal.aborted) {
      note("\nLeft; the session lives on.");
      this.#leave();
    }
    stop.abort();
    aside(`${screen.isOpen ? "\n" : ""}Interrupting. Again to leave.`);
    screen.endLine();
    return true;
  }

  /** Output that comes while an answer is being typed goes above it. */
  async *#beside(
    events: AsyncIterable<ExecutionEvent>,
    screen: Screen,
  ): AsyncGenerator<ExecutionEvent, void> {
    for await (const event of events) {
      if (this.#erase !== null) {
        this.#erase();
        process.stdout.write(screen.line);
      }
      yield event;
      if (event.type !== "end") this.#redraw?.();
    }
  }

  /** Answers `input()` and `getpass()` with a line of the terminal; Ctrl-D ends the input. */
  async #answer(id: string, question: InputRequest, screen: Screen, ended: AbortSignal): Promise<void> {
    const editor = new Editor();
    const drawing = new Drawing(this.#terminal);
    const picture = (): Picture => ({
      prompt: screen.line,
      continuation: "",
      text: question.password ? "" : editor.text.replaceAll("\n", " "),
      cursor: question.password ? 0 : editor.cursor,
      below: [],
    });
    process.stdout.write("\r");
    this.#redraw = () => drawing.draw(picture());
    this.#erase = () => drawing.erase();
    this.#redraw();
    let wish: Wish | null = null;
    while (wish !== "enter" && wish !== "end") {
      const key = await this.#terminal.next(ended);
      if (key === null) {
        // The code has ended; or the terminal is gone, and somebody else may answer.
        this.#redraw = this.#erase = null;
        return;
      }
      wish = editor.press(key);
      this.#redraw();
    }
    this.#redraw = this.#erase = null;
    drawing.finish(picture());
    screen.endLine();
    const line = wish === "end" ? null : editor.text.replaceAll("\n", " ");
    try {
      await this.#client.input(id, line);
    } catch (error) {
      if (isOf(error, "no_input_requested")) note("The code did not wait for it any more.");
      else reportFailure(error, { json: false, printed: false });
    }
  }
}

function isOf(error: unknown, code: string): boolean {
  return error instanceof ExecuteCodeError && error.code === code;
}

function describe(info: SessionInfo): string {
  const { name, language, isolation, revision, state, running } = info;
  const past = revision === 0 ? "new" : `revision ${revision}`;
  const gone = revision > 0 && (state === "crashed" || state === "dormant");
  const parts = [`Session ${name}: ${past}, ${language}, isolation ${isolation}.`];
  if (running !== null) parts.push(`It runs ${running}.`);
  else if (gone) parts.push("Its kernel is gone; the next cell brings its variables back.");
  return `${parts.join(" ")} :help tells more.`;
}

/** Where the kernel cannot be asked: an empty line ends a cell. */
function judgedHere(text: string): Pick<Completion, "status" | "indent"> {
  const last = text.slice(text.lastIndexOf("\n") + 1);
  if (text.includes("\n") && last.trim() === "") return { status: "complete", indent: "" };
  return { status: "incomplete", indent: /^[ \t]*/.exec(last)![0] };
}

function completeCommand(begun: string): Pick<Completion, "matches" | "start"> {
  const matches = COMMAND_NAMES.filter((name) => name.startsWith(begun));
  return { matches, start: 0 };
}

function commonBeginning(texts: readonly string[]): string {
  const [first = "", ...others] = texts;
  let length = first.length;
  for (const other of others) {
    while (!other.startsWith(first.slice(0, length))) length -= 1;
  }
  return first.slice(0, length).toWellFormed();
}
