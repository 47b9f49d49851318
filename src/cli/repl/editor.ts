/** A text of several lines under the keys of a person: the keys of Emacs and readline, a history, a search in it. */
import { charactersOf } from "./drawing.ts";
import { isCtrl, type Key } from "./terminal.ts";

/**
 * What a key asks of the one who owns the editor: `enter`: the text may be whole; `complete`: what could stand at the
 * cursor; `cancel`: Ctrl-C; `end`: Ctrl-D in an empty text; `clear`: an empty screen; `suspend`: Ctrl-Z.
 */
export type Wish = "enter" | "complete" | "cancel" | "end" | "clear" | "suspend";

const UNIT = 4;
/** Ctrl-_, which has no name. */
const UNDO = "\u001f";
const WORD = /[\p{L}\p{N}_]/u;

interface Search {
  query: string;
  /** The place in the history of what is shown; its length when nothing was found yet. */
  at: number;
  /** What was there before. */
  readonly text: string;
  readonly cursor: number;
}

export class Editor {
  readonly #history: readonly string[];
  #text = "";
  #cursor = 0;
  /** Where in the history the text comes from; its length: from nowhere. */
  #place: number;
  /** The text that was there before one of the history. */
  #draft = "";
  #recalled = false;
  #cut = "";
  #undone: Array<{ text: string; cursor: number }> = [];
  #search: Search | null = null;
  /** The column that up and down keep to. */
  #column: number | null = null;

  /** `history`: oldest first. */
  constructor(history: readonly string[] = []) {
    this.#history = history;
    this.#place = history.length;
  }

  get text(): string {
    return this.#text;
  }

  get cursor(): number {
    return this.#cursor;
  }

  /** What is searched for, and whether it was found; null: no search is on. */
  get search(): { readonly query: string; readonly found: boolean } | null {
    if (this.#search === null) return null;
    const { query, at } = this.#search;
    return { query, found: query === "" || at < this.#history.length };
  }

  /** The text comes from the history as it is. */
  get recalled(): boolean {
    return this.#recalled;
  }

  /** White space alone stands before the cursor in its line. */
  get atMargin(): boolean {
    return this.#text.slice(this.#lineStart(), this.#cursor).trim() === "";
  }

  get atEnd(): boolean {
    return this.#text.slice(this.#cursor).trim() === "";
  }

  /** Puts text in place of what stands from `start` to the cursor. */
  insert(text: string, start: number = this.#cursor): void {
    this.#change(this.#text.slice(0, start) + text + this.#text.slice(this.#cursor), start + text.length);
  }

  /** Does what a key says, or gives what it asks for. */
  press(key: Key): Wish | null {
    if (this.#search !== null) {
      const done = this.#pressInSearch(this.#search, key);
      if (done) return null;
    }
    if (key.name !== "up" && key.name !== "down") this.#column = null;
    return key.ctrl ? this.#pressCtrl(key) : key.meta ? this.#pressMeta(key) : this.#pressPlain(key);
  }

  #pressPlain(key: Key): Wish | null {
    switch (key.name) {
      case "return":
      case "enter":
        return "enter";
      case "tab":
        if (key.shift) this.#dedent();
        else if (this.atMargin) this.insert(" ".repeat(UNIT - ((this.#cursor - this.#lineStart()) % UNIT)));
        else return "complete";
        return null;
      case "paste":
        this.insert(key.text.replace(/\r\n?/g, "\n"));
        return null;
      case "backspace":
        this.#backspace();
        return null;
      case "delete":
        this.#delete(this.#right());
        return null;
      case "left":
        this.#cursor = this.#left();
        return null;
      case "right":
        this.#cursor = this.#right();
        return null;
      case "up":
        this.#vertical(-1);
        return null;
      case "down":
        this.#vertical(1);
        return null;
      case "home":
        this.#cursor = this.#lineStart();
        return null;
      case "end":
        this.#cursor = this.#lineEnd();
        return null;
      case "escape":
        return null;
      default:
        if (key.text === UNDO) this.#undo();
        else if (key.text !== "" && !/^\p{Cc}/u.test(key.text)) this.insert(key.text);
        return null;
    }
  }

  #pressCtrl(key: Key): Wish | null {
    switch (key.name) {
      case "c":
        return "cancel";
      case "d":
        if (this.#text === "") return "end";
        this.#delete(this.#right());
        return null;
      case "z":
        return "suspend";
      case "l":
        return "clear";
      case "j":
        return "enter";
      case "a":
        this.#cursor = this.#lineStart();
        return null;
      case "e":
        this.#cursor = this.#lineEnd();
        return null;
      case "b":
        this.#cursor = this.#left();
        return null;
      case "f":
        this.#cursor = this.#right();
        return null;
      case "p":
        this.#vertical(-1);
        return null;
      case "n":
        this.#vertical(1);
        return null;
      case "h":
        this.#backspace();
        return null;
      case "k":
        this.#kill(this.#lineEnd() === this.#cursor ? this.#right() : this.#lineEnd());
        return null;
      case "u":
        this.#kill(this.#lineStart());
        return null;
      case "w":
      case "backspace":
        this.#kill(this.#word(-1));
        return null;
      case "y":
        this.insert(this.#cut);
        return null;
      case "r":
        this.#search = { query: "", at: this.#history.length, text: this.#text, cursor: this.#cursor };
        return null;
      case "left":
        this.#cursor = this.#word(-1);
        return null;
      case "right":
        this.#cursor = this.#word(1);
        return null;
      case "up":
        this.#recall(this.#place - 1);
        return null;
      case "down":
        this.#recall(this.#place + 1);
        return null;
      case "home":
        this.#cursor = 0;
        return null;
      case "end":
        this.#cursor = this.#text.length;
        return null;
      default:
        return null;
    }
  }

  #pressMeta(key: Key): Wish | null {
    switch (key.name) {
      case "return":
      case "enter":
        this.insert("\n");
        return null;
      case "b":
      case "left":
        this.#cursor = this.#word(-1);
        return null;
      case "f":
      case "right":
        this.#cursor = this.#word(1);
        return null;
      case "d":
        this.#kill(this.#word(1));
        return null;
      case "backspace":
        this.#kill(this.#word(-1));
        return null;
      default:
        return null;
    }
  }

  // ── the history ───────────────────────────────────────────────────────────────────────────────────────────

  /** True when the key was one for the search. */
  #pressInSearch(search: Search, key: Key): boolean {
    if (isCtrl(key, "r")) this.#find(search, search.at - 1, -1);
    else if (isCtrl(key, "s")) this.#find(search, search.at + 1, 1);
    else if (isCtrl(key, "g") || isCtrl(key, "c") || key.name === "escape") {
      this.#search = null;
      this.#text = search.text;
      this.#cursor = search.cursor;
    } else if (key.name === "backspace") {
      search.query = charactersOf(search.query).slice(0, -1).join("");
      this.#find(search, this.#history.length - 1, -1);
    } else if (!key.ctrl && !key.meta && key.name !== "tab" && /^[^\p{Cc}]/u.test(key.text)) {
      search.query += key.text;
      this.#find(search, Math.min(search.at, this.#history.length - 1), -1);
    } else {
      this.#search = null;
      return false;
    }
    return true;
  }

  #find(search: Search, from: number, step: number): void {
    for (let at = from; search.query !== "" && at >= 0 && at < this.#history.length; at += step) {
      const text = this.#history[at]!;
      const place = text.toLowerCase().indexOf(search.query.toLowerCase());
      if (place < 0) continue;
      search.at = at;
      this.#place = at;
      this.#text = text;
      this.#cursor = place + search.query.length;
      this.#recalled = true;
      return;
    }
    if (search.query !== "" && !this.#text.toLowerCase().includes(search.query.toLowerCase())) {
      search.at = this.#history.length;
    }
  }

  #recall(place: number): void {
    if (place < 0 || place > this.#history.length) return;
    if (this.#place === this.#history.length) this.#draft = this.#text;
    this.#place = place;
    const isDraft = place === this.#history.length;
    this.#text = isDraft ? this.#draft : this.#history[place]!;
    this.#cursor = this.#text.length;
    this.#recalled = !isDraft;
    this.#undone = [];
  }

  // ── changes ───────────────────────────────────────────────────────────────────────────────────────────────

  #change(text: string, cursor: number): void {
    this.#undone.push({ text: this.#text, cursor: this.#cursor });
    if (this.#undone.length > 500) this.#undone.shift();
    this.#text = text;
    this.#cursor = cursor;
    this.#recalled = false;
  }

  #undo(): void {
    const before = this.#undone.pop();
    if (before === undefined) return;
    this.#text = before.text;
    this.#cursor = before.cursor;
  }

  /** Takes away what stands between the cursor and another place. */
  #delete(other: number): string {
    const [from, to] = [Math.min(other, this.#cursor), Math.max(other, this.#cursor)];
    const gone = this.#text.slice(from, to);
    if (gone !== "") this.#change(this.#text.slice(0, from) + this.#text.slice(to), from);
    return gone;
  }

  #kill(other: number): void {
    const gone = this.#delete(other);
    if (gone !== "") this.#cut = gone;
  }

  /** In the margin it takes away a level of indentation. */
  #backspace(): void {
    const margin = this.#cursor - this.#lineStart();
    const before = this.#text.slice(this.#lineStart(), this.#cursor);
    if (margin > 0 && /^ +$/.test(before)) this.#delete(this.#cursor - (((margin - 1) % UNIT) + 1));
    else this.#delete(this.#left());
  }

  #dedent(): void {
    const start = this.#lineStart();
    const width = /^ {0,4}/.exec(this.#text.slice(start))![0].length;
    if (width === 0) return;
    const cursor = Math.max(start, this.#cursor - width);
    this.#change(this.#text.slice(0, start) + this.#text.slice(start + width), cursor);
  }

  // ── places ────────────────────────────────────────────────────────────────────────────────────────────────

  #lineStart(at: number = this.#cursor): number {
    return at === 0 ? 0 : this.#text.lastIndexOf("\n", at - 1) + 1;
  }

  #lineEnd(at: number = this.#cursor): number {
    const end = this.#text.indexOf("\n", at);
    return end < 0 ? this.#text.length : end;
  }

  #left(): number {
    const line = charactersOf(this.#text.slice(this.#lineStart(), this.#cursor));
    return Math.max(0, this.#cursor - (line.at(-1)?.length ?? 1));
  }

  #right(): number {
    const [next] = charactersOf(this.#text.slice(this.#cursor, this.#lineEnd()));
    return Math.min(this.#text.length, this.#cursor + (next?.length ?? 1));
  }

  /** The next place at which a word begins (-1) or ends (1). */
  #word(step: -1 | 1): number {
    let at = this.#cursor;
    const next = (): string => (step < 0 ? this.#text[at - 1] : this.#text[at]) ?? "";
    while (next() !== "" && !WORD.test(next())) at += step;
    while (next() !== "" && WORD.test(next())) at += step;
    return at;
  }

  /** A line up or down; beyond the text's first and last line the history. */
  #vertical(step: -1 | 1): void {
    const start = this.#lineStart();
    this.#column ??= this.#cursor - start;
    const target = step < 0 ? start - 1 : this.#lineEnd() + 1;
    if (target < 0 || target > this.#text.length) {
      this.#recall(this.#place + step);
      return;
    }
    const from = this.#lineStart(target);
    this.#cursor = Math.min(from + this.#column, this.#lineEnd(from));
  }
}
