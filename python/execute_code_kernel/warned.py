"""Warnings that Python would say of the kernel's own files, because what caused them has no frame left there, are
said of the cell: one with a `stacklevel` beyond the cell, a coroutine or a file that the cell had as its result."""

from __future__ import annotations

from .private import builtins as __builtins__

import warnings
from os.path import abspath, dirname, join

from .private import MODULES

_KERNEL = join(dirname(abspath(__file__)), "")
_PACKAGE = __name__.rpartition(".")[0] + "."


class Warned:
    """Where warnings without a place of their own belong: file name and line."""

    def __init__(self) -> None:
        self._place = ("<cell>", 1)
        self._named = False

    def install(self) -> None:
        # What the interpreter calls with every warning that is to be shown or recorded.
        show = warnings._showwarnmsg

        def _showwarnmsg(message):
            if message.filename.startswith(_KERNEL):
                message.filename, message.lineno = self._place
                self._named = True
            show(message)

        warnings._showwarnmsg = _showwarnmsg

    def begin(self, name: str, tree) -> None:
        """A cell runs from now on. It may warn again of what one before it has warned of."""
        self._place = (name, tree.body[-1].lineno if tree.body else 1)
        if self._named:
            self._named = False
            for module in [module for key, module in list(MODULES.items()) if str(key).startswith(_PACKAGE)]:
                vars(module).pop("__warningregistry__", None)
