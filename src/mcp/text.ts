/** Text as a model may read it: without what is invisible, and no longer than asked for. */

/** Nothing to strip: the common case, found in one pass. */
const PLAIN = /^[\x20-\x7e\n\t]*$/;

/** Terminal sequences: strings (OSC, DCS, APC, PM, SOS) with their end, CSI, and the short ones. */
const TERMINAL =
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  /(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c\n]{0,4096}(?:\u0007|\u001b\\|\u009c)|(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|\u001b[ -/]*[0-~]/g;

/** Control characters but tab and line end. */
const CONTROL = /(?![\t\n])\p{Cc}/gu;

/**
 * Format characters: bidirectional controls, zero-width and invisible ones, tags. The visible signs of Arabic, Syriac
 * and Kaithi stay, and joiners are judged by what stands around them. Then the tag block's unassigned rest, the
 * variation selectors beyond the first sixteen, the grapheme joiner and the blank Hangul fillers.
 */
const INVISIBLE =
  /(?![\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}\u200c\u200d])\p{Cf}|[\u{e0000}-\u{e0fff}]|[\u3164\uffa0]|\u034f/gu;

/** A joiner that does not join: not inside an emoji sequence, nor between letters of a script that uses joiners. */
const STRAY_JOINER =
  /(?<!\p{Extended_Pictographic}|\ufe0f|\p{Emoji_Modifier}|\p{M}|(?!\p{Script=Latin})\p{L})[\u200c\u200d]|[\u200c\u200d](?!\p{Extended_Pictographic}|(?!\p{Script=Latin})\p{L})/gu;

/** One variation selector is meant for the character before it; more of them carry something else. */
const SELECTORS = /([\ufe00-\ufe0f])[\ufe00-\ufe0f]+/g;

/**
 * Strips terminal sequences, control characters, bidirectional controls, and invisible characters that can carry
 * hidden text. Line ends become \n. What a reader sees of normal text, in any script and with emoji, stays.
 */
export function clean(text: string): string {
  if (PLAIN.test(text)) return text;
  return text
    .toWellFormed()
    .replace(TERMINAL, "")
    .replace(/\r\n?|[\u2028\u2029\u0085]/g, "\n")
    .replace(CONTROL, "")
    .replace(INVISIBLE, "")
    .replace(STRAY_JOINER, "")
    .replace(SELECTORS, "$1");
}

export interface Bounded {
  readonly text: string;
  /** UTF-8 bytes of the text that are left out. */
  readonly omitted: number;
}

/** The share of the room that the head gets; the tail has the rest. */
const HEAD_SHARE = 0.6;
/** How far from its place a cut may move to fall on the end of a line. */
const LINE_SEARCH = 200;

/**
 * The text when it has at most `room` characters, else its head and tail around a line that tells how much is left
 * out. A cut falls between two characters as readers know them, and on the end of a line where one is near.
 */
export function headAndTail(text: string, room: number): Bounded {
  if (text.length <= room) return { text, omitted: 0 };
  const head = cutBefore(text, Math.floor(room * HEAD_SHARE));
  const tail = Math.max(head, cutAfter(text, text.length - Math.floor(room * (1 - HEAD_SHARE))));
  const left = text.slice(head, tail);
  const omitted = Buffer.byteLength(left);
  const before = text.slice(0, head);
  const marker = `${before === "" || before.endsWith("\n") ? "" : "\n"}… ${omitted} bytes left out …\n`;
  return { text: before + marker + text.slice(tail), omitted };
}

/** The end of the last line that ends at or shortly before `at`, else the character boundary there. */
function cutBefore(text: string, at: number): number {
  const line = text.lastIndexOf("\n", at - 1) + 1;
  return line > 0 && at - line <= Math.min(LINE_SEARCH, at / 2) ? line : boundary(text, at);
}

/** The start of the first line that starts at or shortly after `at`, else the character boundary there. */
function cutAfter(text: string, at: number): number {
  const line = text.indexOf("\n", at - 1) + 1;
  const rest = text.length - at;
  if (line > 0 && line - at <= Math.min(LINE_SEARCH, rest / 2)) return line;
  const start = boundary(text, at);
  return start === at ? at : nextBoundary(text, start);
}

const segmenter = new Intl.Segmenter();
/** More than a reader's character is long. */
const WINDOW = 128;

/** The start of the character that the position lies in. */
function boundary(text: string, at: number): number {
  if (at <= 0 || at >= text.length) return Math.min(Math.max(at, 0), text.length);
  const from = codePointStart(text, Math.max(0, at - WINDOW));
  const segment = segmenter.segment(text.slice(from, at + WINDOW)).containing(at - from);
  const start = from + (segment?.index ?? 0);
  return start === from && from > 0 ? codePointStart(text, at) : start;
}

function nextBoundary(text: string, start: number): number {
  const segment = segmenter.segment(text.slice(start, start + 2 * WINDOW)).containing(0);
  return start + (segment?.segment.length ?? 1);
}

function codePointStart(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit <= 0xdfff && at > 0 ? at - 1 : at;
}

/** Shares room among parts of the given lengths: short ones get what they need, long ones equal parts of the rest. */
export function shareRoom(lengths: readonly number[], room: number): number[] {
  const shares = lengths.map(() => 0);
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[a]! - lengths[b]!);
  let left = room;
  order.forEach((index, position) => {
    const share = Math.min(lengths[index]!, Math.floor(left / (order.length - position)));
    shares[index] = share;
    left -= share;
  });
  return shares;
}

/** A text of unknown length as it arrives, of which only head and tail are held. */
export class Gathering {
  readonly #room: number;
  #head = "";
  #tail = "";
  #dropped = 0;

  constructor(room: number) {
    this.#room = room;
  }

  add(text: string): void {
    let rest = text;
    if (this.#tail === "" && this.#head.length < this.#room) {
      const space = codePointStart(rest, Math.min(rest.length, this.#room - this.#head.length));
      this.#head += rest.slice(0, space);
      rest = rest.slice(space);
      if (rest === "") return;
    }
    this.#tail += rest;
    if (this.#tail.length > 2 * this.#room) {
      const from = codePointStart(this.#tail, this.#tail.length - this.#room);
      this.#dropped += Buffer.byteLength(this.#tail.slice(0, from));
      this.#tail = this.#tail.slice(from);
    }
  }

  /** `omitted` counts what was dropped; the text has a line in its place. */
  end(): Bounded {
    if (this.#dropped === 0) return { text: this.#head + this.#tail, omitted: 0 };
    return {
      text: `${this.#head}\n… ${this.#dropped} bytes left out …\n${this.#tail}`,
      omitted: this.#dropped,
    };
  }
}
