"""Where magics stand in a cell.

Most of a cell with magics is Python, and only Python knows where its strings, comments and brackets end. So a pattern
finds what looks like a magic, and Python is asked about the text above it: a `)` there would be unmatched.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import ast
import re
import warnings

GAP = r"(?:[ \t\f]|\\\n)*"
"""What may stand between two words of a logical line."""
PLACEHOLDER = "_"
"""What a magic is to Python meanwhile."""

_NAME = r"%{0,2}(?!\d)[\w*]+(?:\.(?!\d)[\w*]+|\[[^\[\]\n]*\])*"
_SPACED = r"[ \t]+(?:matplotlib|pylab|timeit|time|load_ext|run|cd|pip|conda)\b"
"""What may stand behind a `%` and a space; any other name there may be an operand, and the line's begin lost."""
_PIP = r"(?:install|uninstall|list|show|freeze|download|check|config|cache|update|upgrade|create|remove|search)"
_LOOK = re.compile(
    rf"""
    (?:(?P<start>^(?<!\\\n)[ \t\f]*)|[=:;]{GAP})
    (?:(?(start)(?:
        (?P<help>(?:\?\??[ \t]*{_NAME}|{_NAME}[ \t]*\?\??)(?=[ \t]*(?:\#.*)?$))
        |(?P<cell>^%%(?=[A-Za-z_!]))
        |(?P<bare>(?:pip3?|conda|mamba)[ \t]+{_PIP}\b(?![ \t]*[=.(]))
    )|(?!))
    |(?P<line>%%?(?=[A-Za-z_]{{2}})|%(?={_SPACED}))
    |(?P<shell>!!?(?=[ \t]*[^\s!=])))
    """,
    re.VERBOSE | re.MULTILINE,
)
_FIRST_COLUMN = re.compile(r"^(?<!\\\n)(?!(?:elif|else|except|finally)\b)[\w@]", re.MULTILINE)
_LOGICAL_LINE = re.compile(r"(?:[^\n\\]+|\\\n?)*")


class Magic:
    """A magic's place in a text, and its kind: cell (`%%name` where a line begins), line, shell, help (`?name`, or
    `name?`) or bare (`pip install …`)."""

    def __init__(self, kind: str, start: int, text: str) -> None:
        self.kind = kind
        self.start = start
        self.end = start + len(text)
        self.text = text
        self.line = self.column = 0
        """Where it stands in the cell, once that is known; columns count bytes, as those of trees do."""

    def joined(self) -> str:
        """Its text as one line."""
        return " ".join([part.strip() for part in self.text.split("\\\n")])

    def named(self) -> tuple:
        """Name and arguments of `%name arguments`."""
        match = re.match(r"%{0,2}[ \t]*(\w+|!)(.*)", self.joined())
        return match.group(1), match.group(2).strip()


def scan(text: str):
    """The magics of a text in order. What follows a cell magic is looked at as if it were Python."""
    above, read, position = "", 0, 0
    while True:
        match = _LOOK.search(text, position)
        if match is None:
            return
        kind = match.lastgroup
        start = match.start(kind)
        above, read = _shortened(above + text[read:start]), start
        if not _is_code(above):
            position = start + 1
            continue
        magic = Magic(kind, start, match.group(kind) if kind == "help" else _LOGICAL_LINE.match(text, start).group())
        yield magic
        above += PLACEHOLDER
        read = position = magic.end


def _shortened(above: str) -> str:
    """What matters of a text: nothing above the last statement that begins in the first column."""
    begin = 0
    for match in _FIRST_COLUMN.finditer(above):
        begin = match.start()
    return above[begin:] if begin and _is_code(above[:begin]) else above


def _is_code(above: str) -> bool:
    """Whether what follows this text is outside of strings, comments and brackets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(above + ")", "<magic>", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        except SyntaxError as error:
            return error.msg == "unmatched ')'"
    return False
