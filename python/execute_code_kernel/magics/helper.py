"""What the code of magics calls."""

from __future__ import annotations

from ..private import builtins as __builtins__

import re
import sys

from .capture import CapturedIO
from .commands import SList, lines, shell
from .help import describe
from .measuring import Timing, measure
from .named import CELL, LINE
from .replacements import NO_EFFECT, UsageError, instead
from .variables import Scope

_MAGICS = {"%": LINE, "%%": CELL}
_IN_TREES = {"%": ("time", "timeit"), "%%": ("time", "timeit", "capture")}
WORKING = {sign: sorted([*_MAGICS[sign], *_IN_TREES[sign]]) for sign in _MAGICS}
_FLEETING = (
    (re.compile(r"cd(?:\s+[^;&|]*)?"), "`%cd DIR` or os.chdir(DIR) changes the session's folder"),
    (re.compile(r"export\s+[^;&|]*"), "`%env NAME=VALUE` or os.environ sets the session's environment"),
)
"""Commands that change their shell and nothing else."""


class Helper:
    """Its methods see the variables of the code that calls them."""

    timing = Timing
    capture = CapturedIO

    def __init__(self) -> None:
        self._kept = None

    def keep(self, value) -> None:
        self._kept = value

    def kept(self):
        """What was kept last; once."""
        value, self._kept = self._kept, None
        return value

    def timeit(self, options: str):
        """A decorator that times a function, prints the result, and keeps it when asked to."""
        numbers = {key: int(value) for key, value in re.findall(r"-([nrpv])\s*(\d+)", options)}
        letters = "".join(re.findall(r"-([tcqo]+)", options))

        def run(function) -> None:
            result = measure(function, numbers.get("n", 0), max(numbers.get("r", 7), 1))
            if "q" not in letters:
                print(result)
            self._kept = result if "o" in letters else None

        return run

    def refuse(self, message: str) -> None:
        raise UsageError(message)

    def magic(self, sign: str, name: str, arguments: str, *text):
        """`%name arguments`, or `%%name arguments` above a text; its value."""
        scope = Scope(sys._getframe(1))
        if name in _MAGICS[sign]:
            return _MAGICS[sign][name](scope.expand(arguments), *text, scope)
        if sign == "%" and name in NO_EFFECT:
            return print(NO_EFFECT[name], file=sys.stderr)
        raise UsageError(instead(sign, name, "".join(text).strip() or arguments, WORKING))

    def system(self, command: str) -> None:
        """`!command`: runs it in a shell, with the session's output."""
        scope = Scope(sys._getframe(1))
        command = scope.expand(command).strip()
        shell(command, scope)
        for fleeting, other in _FLEETING:
            if fleeting.fullmatch(command):
                print(f"`!{command.split()[0]}` ends with its own shell: {other}.", file=sys.stderr)

    def lines(self, command: str) -> SList:
        """The lines that a command writes, its stderr among them."""
        scope = Scope(sys._getframe(1))
        return lines(scope.expand(command), scope)

    def help(self, subject: str, detailed: bool) -> None:
        """Prints what `subject` is: a name with attributes and items, a pattern of names, or a magic."""
        if not subject.startswith("%"):
            return print(describe(subject, detailed, Scope(sys._getframe(1)).variables))
        sign, name = re.match("(%+)(.*)", subject).groups()
        if name in WORKING[sign]:
            return print(f"{subject} works here as in IPython.")
        print(NO_EFFECT.get(name) or instead(sign, name, "", WORKING))
