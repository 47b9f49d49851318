"""Whether some text is a whole cell, and how its next line begins. Nothing of it is run."""

from __future__ import annotations

from .private import builtins as __builtins__

import ast
import re
import warnings

_MARK = re.compile(r"#|(?:(?<!\w)[rRbBuUfFtT]{1,2})?(?:'''|\"\"\"|'|\")|[()\[\]{}]")
_ENDS = {
    **{quote: re.compile(rf"(?:[^\\\n]|\\.)*?(?:{quote}|(?=\n))", re.DOTALL) for quote in "'\""},
    **{3 * quote: re.compile(rf"(?:[^\\]|\\.)*?{3 * quote}", re.DOTALL) for quote in "'\""},
}
_CLOSING = {")": "(", "]": "[", "}": "{"}
_LEAVING = re.compile(r"(?:return|raise|pass|break|continue)\b")
_BLOCKS = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    *[kind for kind in (getattr(ast, "TryStar", None), getattr(ast, "Match", None)) if kind is not None],
)
_UNIT = "    "


class Reading:
    """What stands in a text, up to its end.

    code      the text, with spaces in place of what strings and comments hold
    brackets  those that are open, each with its place
    string    the string that is open: where its content begins, its quotes and its prefix; or None
    comment   whether the text ends in a comment
    """

    def __init__(self, text: str) -> None:
        self.brackets: list = []
        self.string: tuple | None = None
        self.comment = False
        parts, place = [], 0
        while True:
            match = _MARK.search(text, place)
            if match is None:
                break
            mark = match.group()
            parts.append(text[place : match.start()])
            place = match.end()
            if mark == "#":
                place = text.find("\n", place)
                self.comment = place < 0
                place = len(text) if self.comment else place
                parts.append(" " * (place - match.start()))
            elif mark[-1] in "'\"":
                place = self._read_string(text, match, parts)
            else:
                parts.append(mark)
                if mark not in _CLOSING:
                    self.brackets.append((mark, match.start()))
                elif self.brackets and self.brackets[-1][0] == _CLOSING[mark]:
                    self.brackets.pop()
        self.code = "".join([*parts, text[place:]])

    def _read_string(self, text: str, match, parts: list) -> int:
        begin = match.end()
        prefix = match.group().rstrip("'\"")
        quote = match.group()[len(prefix) :]
        found = _ENDS[quote].match(text, begin)
        if found is None:
            self.string = (begin, quote, prefix)
            parts.append(match.group() + re.sub(r"[^\n]", " ", text[begin:]))
            return len(text)
        # A string that its line ends has no closing quote.
        closing = quote if found.group().endswith(quote) else ""
        content = found.group()[: len(found.group()) - len(closing)]
        parts.append(match.group() + re.sub(r"[^\n]", " ", content) + closing)
        return found.end()


def judge(code: str, parse, flags: int) -> tuple:
    """`complete`, `incomplete` or `invalid`, and the white space that the next line begins with. `parse` is the
    session's parser, and `flags` are its compiler's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = _status(code, parse, flags)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return "invalid", ""
    return status, _indent(code) if status == "incomplete" else ""


def _status(code: str, parse, flags: int) -> str:
    if not code.strip():
        return "complete"
    magic = _cell_magic(code)
    if magic is not None:
        return _status_below(code, magic, parse, flags)
    try:
        tree = parse(code, "<cell>")
    except SyntaxError:
        if _without_magics_is_incomplete(code, flags):
            return "incomplete"
        raise
    if not tree.body or not isinstance(tree.body[-1], _BLOCKS) or _ends_empty(code):
        return "complete"
    # A magic's statement may be a block of its tree; another line cannot belong to that.
    return "complete" if getattr(tree.body[-1], "is_magic", False) else "incomplete"


def _ends_empty(code: str) -> bool:
    """Whether an empty line ends the text, after which no block goes on."""
    lines = code.split("\n")
    return len(lines) > 1 and not lines[-1].strip()


def _cell_magic(code: str):
    """The magic that takes all below it, when the text begins with one."""
    if not code.lstrip().startswith("%%"):
        return None
    from .magics.scanning import scan

    first = next(scan(code), None)
    return first if first is not None and first.kind == "cell" else None


def _status_below(code: str, magic, parse, flags: int) -> str:
    """An empty line ends what is below a cell magic, unless that is code which is not whole."""
    if not _ends_empty(code):
        return "incomplete"
    if magic.named()[0] in ("time", "timeit", "capture"):
        return _status(code[magic.end + 1 :], parse, flags)
    return "complete"


def _without_magics_is_incomplete(code: str, flags: int) -> bool:
    """Whether more can make code of a text that is none. Raises SyntaxError when nothing can."""
    from codeop import CommandCompiler

    compiler = CommandCompiler()
    compiler.compiler.flags |= flags
    try:
        return compiler(code, "<cell>", "exec") is None
    except SyntaxError:
        plain = _with_placeholders(code)
        if plain == code:
            raise
        return compiler(plain, "<cell>", "exec") is None


def _with_placeholders(code: str) -> str:
    from .magics.scanning import PLACEHOLDER, scan

    parts, end = [], 0
    for magic in scan(code):
        parts += [code[end : magic.start], PLACEHOLDER]
        end = magic.end
    return "".join([*parts, code[end:]])


def _indent(code: str) -> str:
    """As the line above; deeper below the head of a block, less deep below what leaves one."""
    reading = Reading(code)
    if reading.string is not None:
        return ""
    lines = reading.code.split("\n")
    line = lines[-1] if lines[-1].strip() else next((line for line in reversed(lines) if line.strip()), "")
    text = line.strip()
    margin = line[: len(line) - len(line.lstrip())]
    if reading.brackets:
        inner = len(reading.code) - reading.brackets[-1][1] <= len(lines[-1])
        return margin + _UNIT if inner else margin
    if text.endswith(":"):
        return margin + ("\t" if margin.endswith("\t") else _UNIT)
    if _LEAVING.match(text):
        return margin[: -1 if margin.endswith("\t") else -len(_UNIT)]
    return margin
