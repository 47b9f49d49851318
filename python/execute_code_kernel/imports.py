"""Has a say in modules that session code imports, and imports none by itself.

    hooks = ImportHooks()
    hooks.after("multiprocessing.spawn", change)      change(module) runs each time the module has been loaded

The module is found and loaded as ever, by whatever finder has it. A change that fails is reported to nobody and
leaves the module as it is: an import never fails for the kernel's sake.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import sys

from .private import MODULES


class ImportHooks:
    """A finder at the front of `sys.meta_path` that knows a few names."""

    def __init__(self) -> None:
        self._changes: dict = {}

    def install(self) -> None:
        sys.meta_path.insert(0, self)

    def after(self, name: str, change) -> None:
        """Calls `change(module)` whenever the module of this name has been loaded; at once when it has been already."""
        self._changes[name] = change
        module = MODULES.get(name)
        if module is not None:
            _apply(change, module)

    def find_spec(self, name, path=None, target=None):
        change = self._changes.get(name)
        if change is None:
            return None
        for finder in list(sys.meta_path):
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                break
        else:
            return None
        if spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, change)
        return spec


class _Loader:
    def __init__(self, loader, change) -> None:
        self._loader = loader
        self._change = change

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _apply(self._change, module)


def _apply(change, module) -> None:
    try:
        change(module)
    except Exception:
        pass  # Another version of the library than the change was made for.
