/** Text of several lines as rows of a terminal, and the place of the cursor in them. */
import { stripVTControlCharacters } from "node:util";
import { displayWidth } from "../terminal.ts";

const TAB = "    ";
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** What a reader takes for one character each. */
export function charactersOf(text: string): string[] {
  return Array.from(graphemes.segment(text), ({ segment }) => segment);
}

export interface Picture {
  /** What stands before the first line. Colours take no room. */
  readonly prompt: string;
  /** The same, before the others. */
  readonly continuation: string;
  readonly text: string;
  /** Offset in the text. */
  readonly cursor: number;
  /** Rows below the text. */
  readonly below: readonly string[];
}

export interface Rows {
  readonly rows: readonly string[];
  readonly row: number;
  readonly column: number;
}

export function rowsOf(picture: Picture, columns: number): Rows {
  const rows: string[] = [];
  let [row, column, at] = [0, 0, 0];
  for (const [number, line] of picture.text.split("\n").entries()) {
    const prefix = number === 0 ? picture.prompt : picture.continuation;
    let drawn = prefix;
    let width = displayWidth(stripVTControlCharacters(prefix));
    const mark = (): void => {
      if (at === picture.cursor) [row, column] = [rows.length, width];
    };
    for (const character of charactersOf(line)) {
      const shown = printable(character);
      const needs = displayWidth(shown);
      if (width + needs > columns - 1) {
        rows.push(drawn);
        drawn = "";
        width = 0;
      }
      mark();
      drawn += shown;
      width += needs;
      at += character.length;
    }
    mark();
    rows.push(drawn);
    at += 1;
  }
  return { rows, row, column };
}

function printable(character: string): string {
  if (character === "\t") return TAB;
  const code = character.charCodeAt(0);
  return code < 32 ? `^${String.fromCharCode(code + 64)}` : code === 127 ? "^?" : character;
}

/** Names in columns, as many as fit into so many rows. */
export function columnsOf(names: readonly string[], columns: number, most: number): string[] {
  const shown = names.map((name) => (name.length > columns - 2 ? `${name.slice(0, columns - 3)}…` : name));
  const width = Math.max(...shown.map(displayWidth)) + 2;
  const across = Math.max(1, Math.floor((columns - 1) / width));
  const needed = Math.ceil(shown.length / across);
  const count = needed > most ? most - 1 : needed;
  const rows = Array.from({ length: count }, (_, row) =>
    shown
      .slice(row * across, (row + 1) * across)
      .map((name) => name + " ".repeat(width - displayWidth(name)))
      .join("")
      .trimEnd(),
  );
  if (needed > most) rows.push(`… ${shown.length - count * across} more`);
  return rows;
}

/** Draws pictures over each other at one place of the terminal, which begins in the first column. */
export class Drawing {
  readonly #size: { readonly columns: number; readonly rows: number };
  /** The cursor's row in what is drawn. */
  #row = 0;

  constructor(size: { readonly columns: number; readonly rows: number }) {
    this.#size = size;
  }

  /** Of what is higher than the terminal the part around the cursor. */
  draw(picture: Picture): void {
    const { rows, row, column } = rowsOf(picture, this.#size.columns);
    const room = Math.max(1, this.#size.rows - 1 - picture.below.length);
    const first = Math.max(0, Math.min(row - Math.floor(room / 2), rows.length - room));
    const shown = [...rows.slice(first, first + room), ...picture.below];
    const top = this.#toTop();
    this.#row = row - first;
    const up = shown.length - 1 - this.#row;
    process.stdout.write(
      `${top}${shown.join("\r\n")}${up > 0 ? `\u001b[${up}A` : ""}\r${column > 0 ? `\u001b[${column}C` : ""}\u001b[?25h`,
    );
  }

  /** Leaves the whole text behind; what comes next begins below it. */
  finish(picture: Picture): void {
    const { rows } = rowsOf(picture, this.#size.columns);
    process.stdout.write(`${this.#toTop()}${rows.join("\r\n")}\u001b[?25h\r\n`);
    this.#row = 0;
  }

  /** Takes away what is drawn. */
  erase(): void {
    process.stdout.write(`${this.#toTop()}\u001b[?25h`);
  }

  #toTop(): string {
    const up = this.#row;
    this.#row = 0;
    return `\u001b[?25l${up > 0 ? `\u001b[${up}A` : ""}\r\u001b[J`;
  }
}
