"""Functions, closure cells and what else is a definition: the head that makes it, the stages that fill it.

    key   definition           head                                     stages
    f:    function             code, globals, name, closure cells       defaults, annotations, attributes, …
    c:    class                see classes.py                           functions; members; the other attributes
    x:    closure cell         (none)                                   content
    g:    private globals      (whether its builtins are content)       content
    l:    lru_cache wrapper    function, size, typed                    attributes
    t:    type parameter       arguments of its constructor             (none)

Making needs only other definitions; filling may need anything. Texts in heads are interned, so that one text is one
object and pickles as such in every process.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import builtins as _live_builtins
import gc
from sys import intern
from types import CellType, FunctionType

from ..private import MODULES
from . import classes
from .reasons import Refused

_EMPTY = "empty"
_FULL = "full"


# ── taking apart ────────────────────────────────────────────────────────────────────────────────────────────────


def head_of(registry, key: str, value, through: str):
    kind = key[:2]
    if kind == "f:":
        return _function_head(registry, key, value, through)
    if kind == "c:":
        return classes.head_of(value)
    if kind == "l:":
        parameters = value.cache_parameters()
        return (value.__wrapped__, parameters["maxsize"], parameters["typed"])
    if kind == "t:":
        return _type_parameter_head(value)
    return True if kind == "g:" else None


def named_in_head(registry, key: str, value) -> tuple:
    """Definitions that a head names by their keys."""
    if key[:2] != "f:":
        return ()
    return tuple([one for one in (registry.globals_key(value), registry.builtins_key(value)) if one[:2] == "g:"])


def stages_of(registry, key: str, value) -> list:
    kind = key[:2]
    if kind == "f:":
        return [_function_content(value)]
    if kind == "c:":
        return classes.stages_of(registry, value)
    if kind == "x:":
        try:
            return [(_FULL, value.cell_contents)]
        except ValueError:
            return [(_EMPTY, None)]
    if kind == "g:":
        return [dict(value)]
    if kind == "l:":
        return [{name: item for name, item in vars(value).items() if name not in ("__wrapped__", "cache_parameters")}]
    return []


def _function_head(registry, key: str, function: FunctionType, through: str) -> dict:
    where = registry.globals_key(function, through)
    code, reference = function.__code__, None
    module = function.__globals__.get("__name__")
    for index, cell in enumerate(function.__closure__ or ()):
        # Named after the function that has it first.
        registry.other_key(cell, f"x:{index}:{key[2:]}", through)
    if where[:2] in ("m:", "d:") and type(module) is str:
        reference = registry.codes.library_reference(code, module)
    builtins = registry.builtins_key(function, through)
    return {
        **({"builtins": builtins} if builtins != "b:" else {}),
        "code": reference or registry.codes.reference(code),
        "globals": where,
        "name": intern(str(function.__name__)),
        "qualname": intern(str(function.__qualname__)),
        "cells": function.__closure__,
        "free": tuple(map(intern, code.co_freevars)),
    }


def _function_content(function: FunctionType) -> tuple:
    content = {
        "module": function.__module__,
        "doc": function.__doc__,
        "defaults": function.__defaults__,
        "kwdefaults": function.__kwdefaults__,
        "annotations": _made(function, function.__annotations__),
        "dict": _made(function, function.__dict__),
        "type_params": getattr(function, "__type_params__", None) or None,
    }
    return {name: value for name, value in content.items() if value is not None}


def _made(function: FunctionType, table: dict):
    """A dictionary of a function, unless it was made to be looked at."""
    return table if table or any([one is table for one in gc.get_referents(function)]) else None


def _type_parameter_head(value) -> tuple:
    kind = type(value).__name__
    name, module = intern(str(value.__name__)), value.__module__
    if kind == "NewType":
        return (kind, module, (name, value.__supertype__), {})
    if kind == "TypeAliasType":
        return (kind, module, (name, value.__value__), {"type_params": value.__type_params__})
    options: dict = {}
    for option in ("covariant", "contravariant", "infer_variance"):
        if getattr(value, f"__{option}__", False):
            options[option] = True
    if getattr(value, "__bound__", None) is not None:
        options["bound"] = value.__bound__
    if getattr(value, "has_default", lambda: False)():
        options["default"] = value.__default__
    return (kind, module, (name, *(getattr(value, "__constraints__", None) or ())), options)


# ── putting together ────────────────────────────────────────────────────────────────────────────────────────────


def make(key: str, head, codes, resolve):
    """A definition that has nothing in it yet. `resolve(key)` gives other definitions. Raises Refused."""
    kind = key[:2]
    if kind == "f:":
        where = resolve(head["globals"])
        where = where if type(where) is dict else vars(where)
        code = codes.find(head["code"])
        cells = head["cells"]
        if code.co_freevars != head["free"]:
            raise Refused("its source is another one")
        function = _make_function(code, where, head["name"], cells, resolve(head.get("builtins", "b:")))
        function.__qualname__ = head["qualname"]
        return function
    if kind == "c:":
        return classes.make(head)
    if kind == "x:":
        return CellType()
    if kind == "g:":
        return {} if head else {"__builtins__": vars(_live_builtins)}
    if kind == "l:":
        from functools import _lru_cache_wrapper, lru_cache

        function, size, typed = head
        made = lru_cache(maxsize=size, typed=typed)(function)
        if type(made) is not _lru_cache_wrapper:
            raise Refused("functools is not what it was")
        return made
    if kind == "t:":
        return _make_type_parameter(*head)
    raise Refused("its capture is of another version")


def _make_function(code, where: dict, name: str, cells, builtins: dict) -> FunctionType:
    """A function takes its builtins from its globals when it is made."""
    if where.get("__builtins__") is builtins:
        return FunctionType(code, where, name, None, cells)
    before = where.get("__builtins__", where)
    where["__builtins__"] = builtins
    try:
        return FunctionType(code, where, name, None, cells)
    finally:
        if before is where:
            del where["__builtins__"]
        else:
            where["__builtins__"] = before


def fill(key: str, value, stage: int, content, members: dict) -> None:
    """Puts a stage's content into a definition. `members` takes those of enumerations, by their keys."""
    kind = key[:2]
    if kind == "f:":
        _fill_function(value, content)
    elif kind == "c:":
        classes.fill(key, value, stage, content, members)
    elif kind == "x:":
        if content[0] == _FULL:
            value.cell_contents = content[1]
    elif kind == "g:":
        value.update(content)
    elif kind == "l:":
        vars(value).update(content)


def leave_only(key: str, value, contents: list) -> None:
    """Takes from a definition that was there before what none of its stages' contents has."""
    kind = key[:2]
    if kind == "f:":
        for name in ("dict", "annotations"):
            if name not in contents[0]:
                setattr(value, f"__{name}__", {})
    elif kind == "c:":
        classes.leave_only(value, contents)
    elif kind == "x:" and contents[0][0] == _EMPTY:
        del value.cell_contents


def _fill_function(function: FunctionType, content: dict) -> None:
    function.__module__ = content.get("module")
    function.__doc__ = content.get("doc")
    function.__defaults__ = content.get("defaults")
    function.__kwdefaults__ = content.get("kwdefaults")
    if "annotations" in content:
        function.__annotations__ = content["annotations"]
    if "dict" in content:
        # The very dictionary: it may be shared.
        function.__dict__ = content["dict"]
    if "type_params" in content:
        function.__type_params__ = content["type_params"]


def _make_type_parameter(kind: str, module, arguments: tuple, options: dict):
    home = __import__("typing")
    maker = getattr(home, kind, None) or getattr(MODULES.get("typing_extensions"), kind, None)
    if maker is None:
        raise Refused(f"typing has no {kind} here")
    made = maker(*arguments, **options)
    try:
        made.__module__ = module
    except AttributeError:
        pass  # It takes its maker's.
    return made
