"""`%%capture`: output that the session keeps as a value."""

from __future__ import annotations

from ..private import builtins as __builtins__

import sys
from io import StringIO

from .replacements import UsageError

_OPTIONS = ("--no-stdout", "--no-stderr", "--no-display")


class RichOutput:
    """Something that was displayed, by mime type."""

    def __init__(self, data: dict) -> None:
        self.data = data

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return self.data

    def __repr__(self) -> str:
        return self.data.get("text/plain") or f"<{', '.join(self.data)}>"


class CapturedIO:
    """What a `%%capture` cell wrote and displayed; `show()`, or a call, shows it again."""

    def __init__(self) -> None:
        self._streams = StringIO(), StringIO()
        self.outputs: list = []

    stdout = property(lambda self: self._streams[0].getvalue())
    stderr = property(lambda self: self._streams[1].getvalue())

    def show(self) -> None:
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        for output in self.outputs:
            sys.modules["execute_code"].display(output)

    __call__ = show

    def __str__(self) -> str:
        return self.stdout

    def __repr__(self) -> str:
        return f"<CapturedIO: {len(self.stdout)} characters of stdout, {len(self.stderr)} of stderr>"


class Capture:
    """Takes sys.stdout, sys.stderr, displays and figures for as long as its block runs, but for those that its options
    leave alone."""

    def __init__(self, options: list) -> None:
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise UsageError(f"`%%capture` has no option {' '.join(unknown)}; write `%%capture NAME`.")
        self._takes_out, self._takes_err, self._takes_displays = [option not in options for option in _OPTIONS]

    def __enter__(self) -> CapturedIO:
        captured = CapturedIO()
        self._before = sys.stdout, sys.stderr
        out, err = captured._streams
        if self._takes_out:
            sys.stdout = out
        if self._takes_err:
            sys.stderr = err
        if self._takes_displays:
            self._displays = _Displays(captured.outputs)
        return captured

    def __exit__(self, *_) -> None:
        try:
            if self._takes_displays:
                self._displays.give_back()
        finally:
            sys.stdout, sys.stderr = self._before


class _Displays:
    """The session's displays, taken."""

    def __init__(self, outputs: list) -> None:
        def show(mime: dict, *_) -> None:
            outputs.append(RichOutput(mime))

        # What emits displays, for the session and for the figures of a cell.
        api = sys.modules["execute_code"].display.__self__
        self._figures = api.figures
        self._before = [(owner, owner._show) for owner in (api, api.figures)]
        for owner, _ in self._before:
            owner._show = show

    def give_back(self) -> None:
        """Raises KeyboardInterrupt only."""
        try:
            self._figures.finish()
        finally:
            for owner, show in self._before:
                owner._show = show
