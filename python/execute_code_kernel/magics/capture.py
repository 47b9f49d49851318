"""`%%capture`: output that the session keeps as a value."""

from __future__ import annotations

from ..private import builtins as __builtins__

import sys
from io import StringIO

from ..private import MODULES
from .replacements import UsageError

_OPTIONS = ("--no-stdout", "--no-stderr", "--no-display")


class CapturedIO:
    """What was written and displayed while its block ran, figures among it, but for what its options leave out.
    `outputs` are dictionaries from mime types to data. `show()`, or a call, shows all of it again."""

    def __init__(self, arguments: str) -> None:
        options = [part for part in arguments.split() if part.startswith("-")]
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise UsageError(f"`%%capture` has no option {' '.join(unknown)}; write `%%capture NAME`.")
        self._options = options
        self._out, self._err = StringIO(), StringIO()
        self.outputs: list = []

    stdout = property(lambda self: self._out.getvalue())
    stderr = property(lambda self: self._err.getvalue())

    def __enter__(self) -> CapturedIO:
        self._streams = sys.stdout, sys.stderr
        self._api = None if "--no-display" in self._options else MODULES["execute_code"].display.__self__
        if self._api is not None:
            self._outer, self._api.captured = self._api.captured, self.outputs
        if "--no-stdout" not in self._options:
            sys.stdout = self._out
        if "--no-stderr" not in self._options:
            sys.stderr = self._err
        return self

    def __exit__(self, *_) -> None:
        try:
            if self._api is not None:
                self._api.figures.finish()
        finally:
            sys.stdout, sys.stderr = self._streams
            if self._api is not None:
                self._api.captured = self._outer

    def show(self) -> None:
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        for output in self.outputs:
            MODULES["execute_code"].display(output, raw=True)

    __call__ = show

    def __str__(self) -> str:
        return self.stdout

    def __repr__(self) -> str:
        return f"<CapturedIO: {len(self.stdout)} characters of stdout, {len(self.stderr)} of stderr>"
