"""What keys stand for that are no definitions' (see registry.py)."""

from __future__ import annotations

from ..private import builtins as __builtins__

import builtins as _live_builtins
import sys

from ..private import MODULES
from .reasons import Refused
from .recipes import MAKERS

_dict_of = type.__dict__["__dict__"].__get__


def resolve(key: str, registry):
    """Definitions are the registry's own. Raises Refused for what is not there."""
    kind, name = key[:2], key[2:]
    if kind == "n:":
        return registry.namespace
    if kind == "b:":
        return vars(_live_builtins)
    if kind == "k:":
        if name == "code":
            return registry.codes.find
        if name in MAKERS:
            return MAKERS[name]
    elif kind == "m:":
        return module(name)
    elif kind == "d:":
        return vars(module(name))
    elif kind == "s:":
        return getattr(sys, name)
    elif kind == "o:" or kind == "y:":
        home, _, name = name.rpartition(":")
        found = vars(module(home)).get(name, registry)
        if found is not registry:
            return found if kind == "o:" else type(found)
        raise Refused(f"{home} has no {name} here")
    elif kind == "w:":
        return module(name).getcontext()
    elif kind == "a:":
        api = getattr(getattr(MODULES.get("execute_code"), "display", None), "__self__", None)
        if api is not None:
            return api
    elif kind == "e:":
        size, _, rest = name.partition(":")
        member, owner = rest[: int(size)], rest[int(size) :]
        return _dict_of(registry.values[owner])["_member_map_"][member]
    elif key in registry.values:
        return registry.values[key]
    raise Refused("its capture is of another version")


def module(name: str):
    """A module by its name, imported when it is not there yet. Raises Refused."""
    found = MODULES.get(name)
    if found is None:
        try:
            __import__(name)
            found = MODULES[name]
        except Exception as error:
            raise Refused(f"the module {name} cannot be imported: {type(error).__name__}") from None
    return found
