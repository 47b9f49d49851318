"""Magics of IPython in cells that Python refuses: `%name`, `!command`, `name?`, `target = !command`, `%%name`.

Loaded when a cell is no Python, and never before. The modules, along a cell's way:

    scanning, translation        where magics stand, and what they are in the cell's syntax tree
    helper, named                what the tree calls, and what magics do by their names
    variables, commands, help    `{expression}` and `$name`; programs and their output; `name?`
    measuring, capture           `%time` and `%timeit`; `%%capture`
    replacements                 what is said of magics that cannot work here

The helper has no name that session code could see or delete: trees carry a constant for it, and `bind` puts it into the
compiled code. A magic that cannot work here raises UsageError at its line, with what to write instead.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

from types import CodeType

from .helper import Helper
from .translation import HELPER, Refused, Translation

_helper = Helper()


def parse(source: str, name: str, flags: int):
    """The tree of a cell that has magics, with `bind` as its attribute; None when it has none. Raises SyntaxError about
    the cell's own text, ValueError, RecursionError or MemoryError."""
    try:
        tree = Translation(source, name, flags).tree()
    except Refused:
        return None
    tree.bind = bind
    return tree


def bind(code: CodeType) -> CodeType:
    """What was compiled from a tree, with the helper in its place."""
    return code.replace(co_consts=tuple([_bound(constant) for constant in code.co_consts]))


def _bound(constant):
    if type(constant) is CodeType:
        return bind(constant)
    return _helper if type(constant) is str and constant == HELPER else constant
