"""What session code finds beyond Python itself: `ec` (also `import execute_code as ec`), `display`, and no `input`."""

from __future__ import annotations

from .private import builtins as __builtins__

import builtins as _live_builtins
import sys
from time import monotonic as _monotonic
from types import ModuleType

from . import display as _display
from .channel import Channel
from .frames import FrameError

_PROGRESS_SECONDS = 0.05


class Api:
    """Speaks for the running execution; after its end, for the last one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._execution = ""
        self._displays = 0
        self._progress_at = 0.0
        self._progress_held: dict | None = None

    def install(self) -> None:
        module = ModuleType("execute_code", "The platform, for the code that runs on it.")
        module.display = self.display
        module.progress = self.progress
        module.history = self.history
        sys.modules["execute_code"] = module
        _live_builtins.ec = module
        _live_builtins.display = self.display
        _live_builtins.input = _no_input

    def begin(self, execution: str) -> None:
        self._execution = execution
        self._progress_at = 0.0
        self._progress_held = None

    def end(self) -> None:
        """Sends the progress that was held back."""
        held, self._progress_held = self._progress_held, None
        if held is not None:
            self._channel.send(held)

    def display(self, *objects, display_id=None, update=False):
        """Shows objects as rich output of the execution.

        With `display_id` (text, or True for a new one) the display can be replaced later: by `display(other,
        display_id=…, update=True)`, or by `update(other)` of the handle that is returned.
        """
        handle = None
        if display_id is True:
            self._displays += 1
            display_id = f"display-{self._displays}"
        if display_id is not None:
            display_id = str(display_id)
            handle = DisplayHandle(self, display_id)
        elif update:
            raise TypeError("display(..., update=True) needs the display_id of what it replaces")
        for value in objects:
            self._show(_display.bundle(value), display_id, bool(update))
        return handle

    def _show(self, mime: dict, display_id, update: bool) -> None:
        if self._channel.foreign:
            # A process that forked from the session has stdout and nothing else.
            sys.stdout.write(mime["text/plain"] + "\n")
            return
        frame = {"type": "display", "id": self._execution, "display_id": display_id, "update": update, "mime": mime}
        try:
            self._channel.send(frame)
        except FrameError:
            self._channel.send({**frame, "mime": {"text/plain": mime["text/plain"][: _display.RESULT_CHARS]}})

    def show_figures(self) -> None:
        if "matplotlib.pyplot" in sys.modules:
            for mime in _display.figures():
                self._show(mime, None, False)

    def progress(self, done, total=None, message="") -> None:
        """Says how far the execution has come. Free to call often: at most 20 reports a second are sent, and the
        last one always is."""
        frame = {
            "type": "progress",
            "id": self._execution,
            "done": _number(done, "done"),
            "total": None if total is None else _number(total, "total"),
            "message": str(message)[:1000],
        }
        now = _monotonic()
        complete = total is not None and frame["done"] >= frame["total"]
        if not complete and now - self._progress_at < _PROGRESS_SECONDS:
            self._progress_held = frame
            return
        self._progress_at = now
        self._progress_held = None
        self._channel.send(frame)

    def history(self, query=None, limit=20) -> list:
        """The session's past executions, newest first, as dictionaries; with `query`, those that match it.

        Raises RuntimeError when the platform cannot answer.
        """
        params = {"query": None if query is None else str(query), "limit": int(limit)}
        return self._channel.call({"type": "call", "id": self._execution, "method": "history", "params": params})


class DisplayHandle:
    """A display that can be replaced."""

    def __init__(self, api: Api, display_id: str) -> None:
        self._api = api
        self.display_id = display_id

    def update(self, value) -> None:
        self._api.display(value, display_id=self.display_id, update=True)

    def __repr__(self) -> str:
        return f"<display {self.display_id}>"


def _number(value, name: str):
    """A number that JSON and JavaScript hold. Raises ValueError or TypeError."""
    number = value if type(value) is int and value.bit_length() <= 53 else float(value)
    if number - number != 0:
        raise ValueError(f"{name} must be finite")
    return number


def _no_input(prompt="", /):
    """There is nobody to answer."""
    raise EOFError("input() is not available: nobody can answer in this session. Put the value into the code instead.")
