/** Words and texts in the form in which they are compared: composed, lower case, well-formed, without NUL. */

export function foldText(text: string): string {
  return text.toWellFormed().normalize("NFC").toLowerCase().replaceAll("ς", "σ").replaceAll("\0", "\u{FFFD}");
}

const TERM = /"([^"]*)"(?=\s|$)|(\S+)/g;

/**
 * The folded terms of a query. White space parts them; a quote at the start of a term keeps words together up to a
 * quote at the end of one. Any other character, an unpaired quote included, is itself.
 */
export function queryTerms(query: string): string[] {
  const terms = [...query.trim().matchAll(TERM)].map(([, quoted, bare]) => foldText(quoted ?? bare ?? ""));
  return [...new Set(terms)].filter((term) => term !== "");
}

/** Code points; the length of what the index's tokens are. */
const TOKEN = 3;
/** Tokens of one term that are looked up. The candidates are then compared with the whole term. */
const TOKENS_PER_TERM = 24;

/** What a text must contain in the index to contain the term; empty for a term shorter than a token. */
export function indexTokens(term: string): string[] {
  const points = Array.from(term);
  const starts = points.length - TOKEN + 1;
  if (starts <= 0) return [];
  const step = Math.max(1, Math.ceil(starts / TOKENS_PER_TERM));
  const tokens = new Set<string>();
  for (let start = 0; start < starts; start += step) tokens.add(points.slice(start, start + TOKEN).join(""));
  return [...tokens];
}
