/**
 * History by value: what a search asks of the changes of variables that records tell, and what their previews answer.
 * A part of the Store port: every store understands it alike.
 *
 *     condition  = all { "or" all }         all = one { "and" one }         one = "(" condition ")" | comparison
 *     comparison = field operator literal   operators: = != < <= > >= ~ (contains, in any case)
 *     literal    = number | 'text' | "text" | word
 *
 * Fields: `type`, `preview`, `change` (added, changed, deleted) are texts; `length`, `rows`, `columns` are counts;
 * `value` is the number or text that the preview shows. A preview is bounded, so some of this is not known: a
 * comparison that cannot be judged does not hold.
 */

/** A change of one variable, as a record tells it. */
export interface Change {
  readonly change: "added" | "changed" | "deleted";
  readonly name: string;
  /** Null for a deleted one. */
  readonly type: string | null;
  readonly preview: string | null;
}

type Operator = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~";
type Numeric = number | bigint;

interface Literal {
  readonly text: string;
  /** Null when it is no number, or in quotes. */
  readonly number: Numeric | null;
  readonly quoted: boolean;
}

export type Condition =
  | { readonly any: readonly Condition[] }
  | { readonly all: readonly Condition[] }
  | { readonly field: string; readonly operator: Operator; readonly literal: Literal };

/** What a condition's text has that is not understood. */
export class NotUnderstood extends Error {
  /** Characters before it. */
  readonly position: number;
  readonly remedy: string;

  constructor(message: string, position: number, remedy: string) {
    super(message);
    this.name = "NotUnderstood";
    this.position = position;
    this.remedy = remedy;
  }
}

const TEXTS = ["type", "preview", "change"];
const COUNTS = ["length", "rows", "columns"];
const FIELDS = [...TEXTS, "value", ...COUNTS];
const CHANGES = ["added", "changed", "deleted"];

// ── the text ──────────────────────────────────────────────────────────────────────────────────────────────────────

const TOKEN = /\s*(?:(?<operator>==|!=|<=|>=|[=<>~])|(?<sign>[()])|(?<quote>['"])|(?<word>[^\s()'"=!<>~]+))/y;
const DEEPEST = 50;

interface Token {
  readonly kind: "operator" | "sign" | "text" | "word" | "end";
  readonly text: string;
  readonly position: number;
}

/** Throws NotUnderstood. */
export function parseCondition(text: string): Condition {
  const tokens = tokensOf(text);
  let at = 0;
  const peek = (): Token => tokens[at]!;
  const isWord = (word: string): boolean => peek().kind === "word" && peek().text.toLowerCase() === word;

  function list(word: "or" | "and", part: (depth: number) => Condition, depth: number): Condition {
    const parts = [part(depth)];
    while (isWord(word)) {
      at += 1;
      parts.push(part(depth));
    }
    if (parts.length === 1) return parts[0]!;
    return word === "or" ? { any: parts } : { all: parts };
  }

  const condition = (depth: number): Condition => list("or", all, depth);
  const all = (depth: number): Condition => list("and", one, depth);

  function one(depth: number): Condition {
    const token = peek();
    if (token.kind !== "sign" || token.text !== "(") return comparison();
    if (depth >= DEEPEST) throw unexpected(token, "fewer brackets inside each other");
    at += 1;
    const inner = condition(depth + 1);
    if (peek().kind !== "sign" || peek().text !== ")") throw unexpected(peek(), "`and`, `or` or `)`");
    at += 1;
    return inner;
  }

  function comparison(): Condition {
    const field = peek();
    const name = field.text.toLowerCase();
    if (field.kind !== "word" || !FIELDS.includes(name)) {
      throw unexpected(field, `one of ${FIELDS.map((known) => `\`${known}\``).join(", ")}`);
    }
    at += 1;
    const sign = peek();
    if (sign.kind !== "operator") throw unexpected(sign, "one of = != < <= > >= ~");
    const operator = (sign.text === "==" ? "=" : sign.text) as Operator;
    if (TEXTS.includes(name) && !["=", "!=", "~"].includes(operator)) {
      throw unexpected(sign, `=, != or ~, since \`${name}\` is a text`);
    }
    if (COUNTS.includes(name) && operator === "~")
      throw unexpected(sign, `= != < <= > or >=, since \`${name}\` is a number`);
    at += 1;
    const literal = literalOf(peek(), name);
    at += 1;
    return { field: name, operator, literal };
  }

  const parsed = condition(0);
  if (peek().kind !== "end") throw unexpected(peek(), "`and`, `or` or the end");
  return parsed;
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  const pattern = new RegExp(TOKEN);
  const end = text.trimEnd().length;
  while (pattern.lastIndex < end) {
    const from = pattern.lastIndex;
    const groups = pattern.exec(text)?.groups;
    if (groups === undefined) {
      const position = from + /^\s*/.exec(text.slice(from))![0].length;
      const remedy = text[position] === "!" ? "Write != for “is not”." : "Put it in quotes.";
      throw new NotUnderstood(`\`${text[position]}\` has no meaning here`, position, remedy);
    }
    const { operator, sign, quote, word } = groups;
    const own = (operator ?? sign ?? quote ?? word)!;
    const position = pattern.lastIndex - own.length;
    if (quote !== undefined) {
      const quoted = quotedFrom(text, position);
      tokens.push({ kind: "text", text: quoted.text, position });
      pattern.lastIndex = quoted.end;
    } else {
      const kind = operator !== undefined ? "operator" : sign !== undefined ? "sign" : "word";
      tokens.push({ kind, text: own, position });
    }
  }
  tokens.push({ kind: "end", text: "", position: end });
  return tokens;
}

/** Text in quotes, in which a backslash stands before a quote or another backslash. */
function quotedFrom(text: string, position: number): { text: string; end: number } {
  const quote = text[position];
  let content = "";
  for (let i = position + 1; i < text.length; i++) {
    if (text[i] === quote) return { text: content, end: i + 1 };
    if (text[i] === "\\" && (text[i + 1] === quote || text[i + 1] === "\\")) i += 1;
    content += text[i];
  }
  throw new NotUnderstood("the text has no end", position, `Close it with ${quote}.`);
}

function literalOf(token: Token, field: string): Literal {
  if (token.kind !== "word" && token.kind !== "text") throw unexpected(token, "a number, a text or a word");
  const quoted = token.kind === "text";
  const number = quoted ? null : numberOf(token.text.replaceAll("_", ""));
  if (COUNTS.includes(field) && number === null)
    throw unexpected(token, `a number, since \`${field}\` is one`);
  if (field === "change" && !CHANGES.includes(token.text))
    throw unexpected(token, "added, changed or deleted");
  return { text: token.text, number, quoted };
}

function unexpected(token: Token, wanted: string): NotUnderstood {
  const found = token.kind === "end" ? "the end" : `\`${token.text.slice(0, 40)}\``;
  return new NotUnderstood(`${found} stands where ${wanted} should`, token.position, EXAMPLE);
}

const EXAMPLE = "Write it like: rows > 1000 and (type = DataFrame or preview ~ 'float64').";

// ── what previews tell ────────────────────────────────────────────────────────────────────────────────────────────

/** Whether a change fits. */
export function holds(condition: Condition, change: Change): boolean {
  if ("any" in condition) return condition.any.some((part) => holds(part, change));
  if ("all" in condition) return condition.all.every((part) => holds(part, change));
  const { field, operator, literal } = condition;
  if (field === "change") return compareTexts(change.change, operator, literal.text);
  const { type, preview } = change;
  if (type === null || preview === null) return false;
  switch (field) {
    case "type":
      return compareTexts(type, operator, literal.text);
    case "preview":
      return compareTexts(preview, operator, literal.text);
    case "value":
      return compareValue(preview, operator, literal);
    default:
      return compareCount(countOf(field, type, preview), operator, literal.number!);
  }
}

function compareTexts(text: string, operator: Operator, literal: string): boolean {
  switch (operator) {
    case "~":
      return text.toLowerCase().includes(literal.toLowerCase());
    case "=":
      return text === literal;
    case "!=":
      return text !== literal;
    case "<":
      return text < literal;
    case "<=":
      return text <= literal;
    case ">":
      return text > literal;
    case ">=":
      return text >= literal;
  }
}

function compareNumbers(number: Numeric, operator: Operator, literal: Numeric): boolean {
  switch (operator) {
    case "~":
      return String(number).includes(String(literal));
    case "=":
      return isEqual(number, literal);
    case "!=":
      return !isEqual(number, literal);
    case "<":
      return number < literal;
    case "<=":
      return number <= literal;
    case ">":
      return number > literal;
    case ">=":
      return number >= literal;
  }
}

/** Also of a large integer and a number; a NaN equals none. */
function isEqual(one: Numeric, other: Numeric): boolean {
  return one >= other && !(one > other);
}

function compareValue(preview: string, operator: Operator, literal: Literal): boolean {
  const text = textOf(preview);
  const number = text === null ? numberOf(preview) : null;
  if (number !== null && literal.number !== null && operator !== "~") {
    return compareNumbers(number, operator, literal.number);
  }
  const shown = text ?? { text: preview, whole: !preview.endsWith("…") };
  if (operator === "~") return compareShown(shown, operator, literal.text);
  // A number and what is none are never equal, nor before one another; nor is a text None, True or False.
  const isConstant = !literal.quoted && /^(?:None|True|False)$/.test(literal.text);
  if (number !== null || literal.number !== null || (text !== null && isConstant)) return operator === "!=";
  // Of what is no text only instants, which begin with their year, have an order.
  const isOrdered = text !== null || /^\d/.test(preview);
  return (isOrdered || operator === "=" || operator === "!=") && compareShown(shown, operator, literal.text);
}

interface ShownText {
  readonly text: string;
  /** False when it is only the beginning. */
  readonly whole: boolean;
}

/** A text of which the preview may show the beginning alone: then only what that decides. */
function compareShown({ text, whole }: ShownText, operator: Operator, literal: string): boolean {
  if (whole || operator === "~") return compareTexts(text, operator, literal);
  const shown = text.replace(/…$/, "");
  if (!literal.startsWith(shown) && !(shown.startsWith(literal) && (operator === "<" || operator === "<="))) {
    return compareTexts(shown, operator, literal);
  }
  return false;
}

interface Count {
  readonly least: number;
  /** False when there may be more. */
  readonly exact: boolean;
}

function compareCount(count: Count | null, operator: Operator, literal: Numeric): boolean {
  if (count === null) return false;
  const { least, exact } = count;
  if (exact || operator === ">" || operator === ">=") return compareNumbers(least, operator, literal);
  return operator === "!=" && literal < least;
}

const TABLE = /^<[^\s:]+ (\d+(?:×\d+)*)(?=[ >…]|$)/;
const RANGE = /^range\((-?\d+), (-?\d+)(?:, (-?\d+))?\)$/;
const CONTAINERS = new Set(["list", "tuple", "set", "frozenset", "dict"]);

function countOf(field: string, type: string, preview: string): Count | null {
  const shape = TABLE.exec(preview)?.[1]?.split("×").map(Number);
  if (shape !== undefined) {
    const extent = shape[field === "columns" ? 1 : 0];
    return extent === undefined ? null : { least: extent, exact: true };
  }
  if (field !== "length") return null;
  const text = textOf(preview);
  if (text !== null) {
    const characters = Array.from(text.text).length;
    return { least: text.whole ? characters : characters + 1, exact: text.whole };
  }
  const range = RANGE.exec(preview);
  if (range !== null) {
    const [from, to, step] = [Number(range[1]), Number(range[2]), Number(range[3] ?? 1)];
    return { least: Math.max(0, Math.ceil((to - from) / step)), exact: true };
  }
  return CONTAINERS.has(type) ? itemsOf(preview) : null;
}

/** The items of a list, tuple, set or dict that its preview shows. */
function itemsOf(preview: string): Count {
  const inside = preview.replace(/^frozenset\((?=\{)/, "");
  if (/^(?:set|frozenset)\(\)$/.test(preview)) return { least: 0, exact: true };
  let items = 0;
  let depth = 0;
  let quote = "";
  let item = "";
  const close = (): void => {
    if (item.trim() !== "") items += 1;
    item = "";
  };
  for (let i = 0; i < inside.length; i++) {
    const character = inside[i]!;
    if (depth > 0) item += character;
    if (quote !== "") {
      if (character === "\\") i += 1;
      else if (character === quote) quote = "";
    } else if (character === "'" || character === '"') quote = character;
    else if ("([{".includes(character)) depth += 1;
    else if (")]}".includes(character)) {
      depth -= 1;
      if (depth === 0) {
        const last = item.slice(0, -1).trim();
        item = last;
        close();
        return { least: items, exact: last !== "…" };
      }
    } else if (character === "," && depth === 1) {
      item = item.slice(0, -1);
      close();
    }
  }
  // Cut off: what it ends in is one item, or the beginning of one.
  close();
  return { least: items, exact: false };
}

/** The number that a text is, as Python or a person writes it; null when it is none. */
function numberOf(text: string): Numeric | null {
  if (/^[-+]?\d+$/.test(text)) {
    const number = Number(text);
    return Number.isSafeInteger(number) ? number : BigInt(text.replace(/^\+/, ""));
  }
  if (/^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i.test(text)) return Number(text);
  const special = /^([-+]?)(inf|infinity|nan)$/i.exec(text);
  if (special === null) return null;
  if (special[2]!.toLowerCase() === "nan") return Number.NaN;
  return special[1] === "-" ? -Infinity : Infinity;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

/** The text or bytes whose representation a preview is; null when it is none. */
function textOf(preview: string): ShownText | null {
  const opening = /^b?(['"])/.exec(preview);
  if (opening === null) return null;
  const quote = opening[1]!;
  const whole = preview.length > opening[0].length && preview.endsWith(quote);
  const inner = preview.slice(opening[0].length, whole ? -1 : preview.endsWith("…") ? -1 : undefined);
  const text = inner.replace(
    /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/gs,
    (_all, x?: string, u?: string, long?: string, character = "") => {
      const code = x ?? u ?? long;
      if (code === undefined) return ESCAPES[character] ?? character;
      const point = Number.parseInt(code, 16);
      return point <= 0x10ffff ? String.fromCodePoint(point) : "\ufffd";
    },
  );
  return { text, whole };
}
