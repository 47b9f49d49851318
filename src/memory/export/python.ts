/**
 * Python source by its logical lines, as far as a script needs it: what is a magic of a notebook, what lies inside a
 * string, what awaits. Brackets, strings, comments and continued lines are told apart; nothing is parsed beyond that.
 */

export interface LogicalLine {
  /** Physical lines, without their ends. */
  readonly lines: readonly string[];
  /** For each of them: it begins inside a string, so that white space before it would change the string. */
  readonly inString: readonly boolean[];
  /** Its text with the contents of strings and comments blanked out. */
  readonly code: string;
  /** `cell`: it and all below it is for a cell magic; `line`: a line magic, a shell command or a question. */
  readonly magic: "cell" | "line" | null;
}

const CELL_MAGIC = /^%%(?=[A-Za-z_!])/;
const LINE_MAGIC = /^[ \t\f]*(?:%|!|\?)/;
const NAME = String.raw`%{0,2}(?!\d)[\w*]+(?:\.(?!\d)[\w*]+|\[[^\[\]\n]*\])*`;
const QUESTION = new RegExp(String.raw`^[ \t\f]*${NAME}[ \t]*\?\??[ \t]*(?:#.*)?$`);
const BARE =
  /^[ \t\f]*(?:pip3?|conda|mamba)[ \t]+(?:install|uninstall|list|show|freeze|download|check|config|cache|update|upgrade|create|remove|search)\b(?![ \t]*[=.(])/;
/** Inside a line: a `!` that is no comparison, or a `%name` where a value is to begin. */
const INNER_MAGIC = /!(?!=)|[=:;][ \t]*%%?(?=[A-Za-z_]{2})/;

/** The logical lines of a cell, which together are all its physical lines. Line ends are \n. */
export function* logicalLines(source: string): Generator<LogicalLine, void> {
  const lines = source.replace(/\r\n?/g, "\n").split("\n");
  for (let at = 0; at < lines.length; ) {
    const text = lines[at]!;
    const isMagic = LINE_MAGIC.test(text) || QUESTION.test(text) || BARE.test(text);
    const line = isMagic ? continued(lines, at, CELL_MAGIC.test(text) ? "cell" : "line") : scanned(lines, at);
    yield line;
    at += line.lines.length;
  }
}

/** A magic: its text is not Python, only a backslash continues it. */
function continued(lines: readonly string[], from: number, magic: "cell" | "line"): LogicalLine {
  let end = from;
  while (end + 1 < lines.length && lines[end]!.endsWith("\\")) end += 1;
  const own = lines.slice(from, end + 1);
  return { lines: own, inString: own.map(() => false), code: "", magic };
}

/** A line of Python, to where its strings and brackets are closed. */
function scanned(lines: readonly string[], from: number): LogicalLine {
  const inString: boolean[] = [];
  const code: string[] = [];
  let quote: string | null = null;
  let depth = 0;
  let at = from;
  for (; at < lines.length; at++) {
    const text = lines[at]!;
    inString.push(quote !== null);
    let goesOn = false;
    let masked = "";
    for (let i = 0; i < text.length; ) {
      const character = text[i]!;
      if (quote !== null) {
        if (character === "\\") {
          goesOn = i + 1 >= text.length;
          i += 2;
        } else if (text.startsWith(quote, i)) {
          i += quote.length;
          masked += quote;
          quote = null;
        } else i += 1;
        continue;
      }
      if (character === "#") break;
      if (character === '"' || character === "'") {
        quote = text.startsWith(character.repeat(3), i) ? character.repeat(3) : character;
        masked += quote;
        i += quote.length;
        continue;
      }
      if (character === "\\" && i + 1 >= text.length) goesOn = true;
      else if ("([{".includes(character)) depth += 1;
      else if (")]}".includes(character)) depth = Math.max(0, depth - 1);
      masked += character;
      i += 1;
    }
    code.push(masked);
    // A string of one quote ends with its line, unless a backslash goes on with it.
    if (quote?.length === 1 && !goesOn) quote = null;
    if (quote === null && depth === 0 && !goesOn) break;
  }
  const masked = code.join("\n");
  return {
    lines: lines.slice(from, at + 1),
    inString,
    code: masked,
    magic: INNER_MAGIC.test(masked) ? "line" : null,
  };
}

/** Whether a cell's code awaits outside of any function, which a plain script cannot. */
export function awaitsAtTop(lines: Iterable<LogicalLine>): boolean {
  const functions: number[] = [];
  for (const { code, magic } of lines) {
    if (magic !== null || code.trim() === "") continue;
    const indent = /^[ \t\f]*/.exec(code)![0].length;
    while (functions.length > 0 && functions.at(-1)! >= indent) functions.pop();
    if (/^\s*(?:async\s+)?def\b/.test(code)) functions.push(indent);
    else if (functions.length === 0 && /\bawait\b|\basync\s+(?:for|with)\b/.test(code)) return true;
  }
  return false;
}
