/** Types of the errors that say that a cell is no Python: nothing of it ran, unless it raised one itself. */
export const NOT_COMPILED: ReadonlySet<string> = new Set(["SyntaxError", "IndentationError", "TabError"]);
