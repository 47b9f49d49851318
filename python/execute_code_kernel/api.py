"""What session code finds beyond Python itself: `ec` (also `import execute_code as ec`), `display`, and an `input` that
the execution's caller answers."""

from __future__ import annotations

from .private import builtins as __builtins__

import builtins as _live_builtins
import sys
from time import monotonic as _monotonic
from types import ModuleType

from . import display as _display
from . import packages as _packages
from .channel import Channel
from .effects import Effects
from .frames import FrameError
from .imports import ImportHooks
from .libraries import Figures

_PROGRESS_SECONDS = 0.05
_PROMPT_CHARS = 4_000


class Api:
    """Speaks for the running execution; after its end, for the last one."""

    def __init__(self, channel: Channel, effects: Effects) -> None:
        self._channel = channel
        self._effects = effects
        self._execution = ""
        self._displays = 0
        self.repeats = False
        """What runs has run before: the platform knows what it said."""
        self.captured: list | None = None
        """Where displays go instead of to the daemon, while a block captures them."""
        self.figures = Figures(self._show)
        self._progress_at = 0.0
        self._progress_held: dict | None = None

    def install(self, hooks: ImportHooks) -> None:
        module = ModuleType("execute_code", "The platform, for the code that runs on it.")
        module.display = self.display
        module.update_display = self.update_display
        module.clear_output = self.clear_output
        module.progress = self.progress
        module.history = self.history
        module.install = self.install_packages
        module.checkpoint = self.checkpoint
        sys.modules["execute_code"] = module
        _live_builtins.ec = module
        _live_builtins.display = self.display
        _live_builtins.input = self.input
        hooks.after("getpass", self._change_getpass)

    def begin(self, execution: str) -> None:
        self._execution = execution
        self._progress_at = 0.0
        self._progress_held = None

    def end(self) -> None:
        """Sends the progress that was held back."""
        held, self._progress_held = self._progress_held, None
        if held is not None:
            self._channel.send(held)

    def display(
        self,
        *objects,
        include=None,
        exclude=None,
        metadata=None,
        transient=None,
        display_id=None,
        raw=False,
        clear=False,
        update=False,
    ):
        """Shows objects as rich output of the execution.

        `include` and `exclude` name mime types that an object is, or is not, to be shown as; a text/plain is always
        shown unless it is excluded. With `raw` the objects are dictionaries from mime types to data.

        With `display_id` (text, or True for a new one) the display can be replaced later: by `display(other,
        display_id=…, update=True)`, or by `update(other)` of the handle that is returned.

        `metadata` and `clear` are taken for the sake of code that was written for IPython, and mean nothing here.
        """
        display_id = display_id or (transient or {}).get("display_id")
        if display_id is True:
            display_id = self.new_display_id()
        handle = None
        if display_id:
            display_id = str(display_id)
            handle = DisplayHandle(self, display_id)
            if not objects:
                # The place of what is to come.
                self._show({"text/plain": ""}, display_id, bool(update))
        elif update:
            raise TypeError("display(..., update=True) needs the display_id of what it replaces")
        for value in objects:
            mime = (_display.raw if raw else _display.bundle)(value, include, exclude)
            # A value may have shown itself.
            if mime is not None:
                self._show(mime, display_id, bool(update))
        return handle

    def update_display(self, value, *, display_id, **options) -> None:
        """Replaces the display of this id."""
        self.display(value, display_id=display_id, **{**options, "update": True})

    def clear_output(self, wait=False) -> None:
        """Does nothing: what an execution has shown stays in its record."""

    def publish_display_data(self, data, metadata=None, source=None, *, transient=None, update=False, **_) -> None:
        """Shows a dictionary from mime types to data."""
        self.display(data, raw=True, transient=transient, update=update)

    def new_display_id(self) -> str:
        self._displays += 1
        return f"display-{self._displays}"

    def _show(self, mime: dict, display_id=None, update: bool = False) -> None:
        if self.captured is not None:
            self.captured.append(mime)
            return
        if self._channel.foreign:
            # A process that forked from the session has stdout and nothing else.
            sys.stdout.write(mime.get("text/plain", "") + "\n")
            return
        frame = {"type": "display", "id": self._execution, "display_id": display_id, "update": update, "mime": mime}
        try:
            self._channel.send(frame)
        except FrameError:
            self._channel.send({**frame, "mime": {"text/plain": mime.get("text/plain", "")}})

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

    def input(self, prompt="", /):
        """Reads a line from whoever can answer the execution: its caller, or `execution input`.

        Raises EOFError at the end of input, and when nobody answers in time.
        """
        return self._ask(str(prompt), False)

    def getpass(self, prompt="Password: ", stream=None, **_):
        """As `input`, for a secret: the answer is neither shown nor recorded."""
        return self._ask(str(prompt), True)

    def _change_getpass(self, module) -> None:
        module.getpass = module.unix_getpass = self.getpass

    def _ask(self, prompt: str, password: bool) -> str:
        if self._channel.foreign:
            raise EOFError("input() is not available in a process that forked from the session.")
        sys.stdout.write(prompt)
        sys.stdout.flush()
        frame = {"type": "input", "id": self._execution, "prompt": prompt[:_PROMPT_CHARS], "password": password}
        self._effects.note("input", prompt)
        try:
            line = self._channel.call(frame)
        except RuntimeError as error:
            raise EOFError(str(error)) from None
        if type(line) is not str:
            raise EOFError("EOF when reading a line")
        return line

    def history(self, query=None, limit=20) -> list:
        """The session's past executions, newest first, as dictionaries; with `query`, those that match it.

        Raises RuntimeError when the platform cannot answer.
        """
        params = {"query": None if query is None else str(query), "limit": int(limit)}
        return self._channel.call({"type": "call", "id": self._execution, "method": "history", "params": params})


    def checkpoint(self, name) -> None:
        """Has the session's variables written to the disk under this name, as they are at the end of this execution.

        Raises RuntimeError when the name cannot be used.
        """
        params = {"name": str(name)}
        if self.repeats:
            return
        self._channel.call({"type": "call", "id": self._execution, "method": "checkpoint", "params": params})

    def install_packages(self, *packages, upgrade=False) -> list:
        """Installs packages from the package index into the session's own environment: names, with versions where they
        matter (`"pandas>=2"`); with `upgrade` newer ones than are there. They can be imported at once. Gives what was
        installed, as `name version`.

        Raises RuntimeError when it fails, with what the installer said.
        """
        names = [str(name) for name in packages]
        if not names:
            raise TypeError("install() needs the name of a package")
        params = {"packages": names, "upgrade": bool(upgrade)}
        frame = {"type": "call", "id": self._execution, "method": "install", "params": params}
        self._effects.note("connect", "the package index")
        installed = self._channel.call(frame)
        _packages.changed()
        return [f"{package['name']} {package['version']}" for package in installed]


class DisplayHandle:
    """A display that can be replaced."""

    def __init__(self, api: Api, display_id: str) -> None:
        self._api = api
        self.display_id = display_id

    def display(self, value, **options) -> None:
        """Shows a value under this display's id."""
        self._api.display(value, display_id=self.display_id, **options)

    def update(self, value, **options) -> None:
        """Replaces what is shown."""
        self._api.update_display(value, display_id=self.display_id, **options)

    def __repr__(self) -> str:
        return f"<display {self.display_id}>"


def _number(value, name: str):
    """A number that JSON and JavaScript hold. Raises ValueError or TypeError."""
    number = value if type(value) is int and value.bit_length() <= 53 else float(value)
    if number - number != 0:
        raise ValueError(f"{name} must be finite")
    return number
