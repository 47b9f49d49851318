"""What the code of magics calls."""

from __future__ import annotations

from ..private import builtins as __builtins__

import re
import sys

from . import commands
from .capture import Capture
from .cell_magics import CELL
from .help import describe
from .line_magics import LINE
from .measuring import Timing, measure
from .replacements import UsageError, instead, no_effect
from .variables import Scope

_WORKING = {"%": (*LINE, "time", "timeit"), "%%": (*CELL, "time", "timeit", "capture")}
_FLEETING = (
    (re.compile(r"cd(?:\s+[^;&|]*)?"), "`%cd DIR` or os.chdir(DIR) changes the session's folder"),
    (re.compile(r"export\s+[^;&|]*"), "`%env NAME=VALUE` or os.environ sets the session's environment"),
)
"""Commands that change their shell and nothing else."""


class Helper:
    """Its methods see the variables of the code that calls them."""

    def __init__(self) -> None:
        self._kept = None

    def keep(self, value) -> None:
        self._kept = value

    def kept(self):
        """What was kept last; once."""
        value, self._kept = self._kept, None
        return value

    def timing(self) -> Timing:
        return Timing()

    def timeit(self, options: str):
        """A decorator that times a function of turns, prints the result, and keeps it when asked to."""
        numbers = {key: int(value) for key, value in re.findall(r"-([nrpv])\s*(\d+)", options)}
        letters = "".join(re.findall(r"-([tcqo]+)", options))

        def run(function) -> None:
            result = measure(function, numbers.get("n", 0), max(numbers.get("r", 7), 1))
            if "q" not in letters:
                print(result)
            self._kept = result if "o" in letters else None

        return run

    def capture(self, arguments: str) -> Capture:
        return Capture([part for part in arguments.split() if part.startswith("-")])

    def refuse(self, message: str) -> None:
        raise UsageError(message)

    def line(self, name: str, arguments: str):
        """`%name arguments`; its value."""
        scope = Scope(sys._getframe(1))
        if name in LINE:
            return LINE[name](scope.expand(arguments), scope)
        nothing = no_effect(name, arguments)
        if nothing is None:
            raise UsageError(instead("%", name, arguments, _WORKING))
        print(nothing, file=sys.stderr)

    def cell(self, name: str, arguments: str, body: str):
        """`%%name arguments` above a body; its value."""
        scope = Scope(sys._getframe(1))
        magic = CELL.get(name) or CELL.get(name.lower())
        if magic is None:
            raise UsageError(instead("%%", name, body.strip() or arguments, _WORKING))
        return magic(scope.expand(arguments), body + "\n" * (body[-1:] not in ("", "\n")), scope)

    def system(self, command: str) -> None:
        """`!command`: runs it in a shell, with the session's output."""
        scope = Scope(sys._getframe(1))
        command = scope.expand(command).strip()
        commands.shell(command, scope)
        for fleeting, other in _FLEETING:
            if fleeting.fullmatch(command):
                print(f"`!{command.split()[0]}` ends with its own shell: {other}.", file=sys.stderr)

    def lines(self, command: str) -> commands.SList:
        """The lines that a command writes, its stderr among them."""
        scope = Scope(sys._getframe(1))
        return commands.lines(scope.expand(command), scope)

    def help(self, subject: str, detailed: bool) -> None:
        """Prints what `subject` is: a name with attributes and items, a pattern of names, or a magic."""
        if not subject.startswith("%"):
            return print(describe(subject, detailed, Scope(sys._getframe(1)).variables()))
        sign, name = re.match("(%+)(.*)", subject).groups()
        works = f"{subject} works here as in IPython." if name in _WORKING[sign] else None
        print(works or no_effect(name) or instead(sign, name, "", _WORKING))
