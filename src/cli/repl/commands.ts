/** The REPL's own commands: a line that begins with a colon, which no Python does. */
import { usageError } from "../terminal.ts";

/** What commands are done to. */
export interface Place {
  readonly session: string;
  /** Goes on in the session of this name, which is made when there is none. */
  enter(session: string): Promise<void>;
}

interface Command {
  /** What comes behind its name. */
  readonly takes: string;
  readonly does: string;
  readonly run: (place: Place, words: readonly string[]) => Promise<unknown>;
}

const DEPTH = 1;
const FOUND = 20;

const rollback: Command["run"] = async ({ session }, [to]) =>
  (await import("../branches.ts")).rollback(session, to, {});

const COMMANDS: Readonly<Record<string, Command>> = {
  help: { takes: "", does: "these commands and the keys", run: async () => process.stdout.write(help()) },
  inspect: {
    takes: "[NAME]",
    does: "the session's variables, or a closer look at one",
    run: async ({ session }, [name]) =>
      (await import("../inspect.ts")).inspect(name, { session, depth: DEPTH }),
  },
  history: {
    takes: "[WORDS]",
    does: "what the session ran, newest first",
    run: async ({ session }, words) => {
      const query = words.length === 0 ? undefined : words.join(" ");
      return (await import("../history.ts")).search(query, { session, limit: FOUND });
    },
  },
  undo: { takes: "", does: "back to before the last execution that changed something", run: rollback },
  rollback: {
    takes: "[TO]",
    does: "back to a snapshot or an execution; without one as :undo",
    run: rollback,
  },
  snapshot: {
    takes: "[NAME]",
    does: "keep the session's memory as it is",
    run: async ({ session }, [name]) =>
      (await import("../branches.ts")).snapshot(session, name, { onUnsafe: "warn" }),
  },
  snapshots: {
    takes: "",
    does: "what there is to go back to",
    run: async ({ session }) => (await import("../branches.ts")).snapshots(session, {}),
  },
  fork: {
    takes: "NAME",
    does: "a new session with a copy of this one's memory; goes on there",
    run: async (place, [name]) => {
      if (name === undefined) throw usageError("Give the new session a name.", "Write :fork NAME.");
      await (await import("../branches.ts")).fork(place.session, [name], { onUnsafe: "refuse" });
      await place.enter(name);
    },
  },
  session: {
    takes: "[NAME]",
    does: "go on in another session; without a name all sessions",
    run: async (place, [name]) =>
      name === undefined ? (await import("../session.ts")).list({}) : place.enter(name),
  },
  restart: {
    takes: "",
    does: "a new kernel: the variables are dropped, the history stays",
    run: async ({ session }) => (await import("../session.ts")).reset(session, {}),
  },
  quit: { takes: "", does: "leave; the session lives on", run: async () => undefined },
};

export const COMMAND_NAMES: readonly string[] = Object.keys(COMMANDS).map((name) => `:${name}`);

export function isCommand(text: string): boolean {
  return text.startsWith(":");
}

/** Does what a line says; false when that is to leave. Throws `invalid_request` for a command that there is not. */
export async function runCommand(line: string, place: Place): Promise<boolean> {
  const [name = "", ...words] = line.slice(1).trim().split(/\s+/);
  if (LEAVING.has(name)) return false;
  const command = COMMANDS[name];
  if (command === undefined) throw usageError(`There is no command :${name}.`, "See :help.");
  const most = command.takes === "[WORDS]" ? Number.POSITIVE_INFINITY : command.takes === "" ? 0 : 1;
  if (words.length > most) {
    throw usageError(`:${name} takes ${most === 0 ? "nothing" : "one word"}.`, "See :help.");
  }
  await command.run(place, words);
  return true;
}

const LEAVING = new Set(["quit", "exit", "q"]);

function help(): string {
  const rows = Object.entries(COMMANDS).map(
    ([name, { takes, does }]) => `  ${`:${name} ${takes}`.padEnd(18)}  ${does}`,
  );
  return `${rows.join("\n")}

  Enter       run the cell, or a new line where it goes on; an empty line ends it
  Alt-Enter   a new line in any case
  Tab         complete; in the margin four spaces, with Shift four less
  Up, Down    lines, then what was typed before; Ctrl-R searches it
  Ctrl-C      interrupt the cell, again to leave it; at the prompt clear the line
  Ctrl-D      leave; the session lives on
`;
}
