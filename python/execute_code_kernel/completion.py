"""What could stand at a place of some code: names, attributes, arguments, keys, modules, files, magics.

No code of a variable is run: what an attribute is, is read from dictionaries, as `inspection` does, and what a property
or `__getattr__` would give is not known.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import builtins as _live_builtins
import re
import sys
from itertools import islice
from keyword import kwlist
from os import path, scandir
from types import FunctionType, MemberDescriptorType, ModuleType

from .completeness import Reading, judge
from .inspection import parameters
from .previews import instance_dict, is_type, lookup, offered, table_class, tabular
from .private import MODULES

_MATCHES = 500
_ENTRIES = 10_000
_CHARS = 200
_NOTHING = object()
_SOFT_KEYWORDS = ("case", "match", "type") if sys.version_info >= (3, 10) else ()

_NAME = r"[^\W\d]\w*"
_CHAIN = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_ATTRIBUTE = re.compile(rf"(?<![\w.\)\]}}])({_CHAIN}|['\"])[ \t]*\.[ \t]*({_NAME}|)$")
_PLAIN = re.compile(rf"(?<![\w.])({_NAME}|)$")
_OWNER = re.compile(rf"(?<![\w.\)\]}}])({_CHAIN})[ \t]*$")
_MAGIC = re.compile(r"[ \t]*(%%?)(\w*)$")
_IMPORT = re.compile(r"[ \t]*(?:import[ \t]+(?:.*,[ \t]*)?|from[ \t]+)([\w.]*)$")
_FROM_IMPORT = re.compile(r"[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t(]+(?:.*,[ \t]*)?(\w*)$")

_type_mro = type.__dict__["__mro__"].__get__
_type_dict = type.__dict__["__dict__"].__get__
_module_dict = ModuleType.__dict__["__dict__"].__get__


def complete(namespace: dict, compiler, code: str, cursor) -> dict:
    """`matches` with `start` and `end` in characters, none without a cursor; `status` and `indent`."""
    status, indent = judge(code, compiler.parse, compiler.flags)
    answer = {"matches": [], "start": 0, "end": 0, "status": status, "indent": indent}
    if cursor is not None:
        cursor = min(cursor, len(code))
        answer["start"], found = _Search(namespace, code, cursor).result()
        answer["end"] = cursor
        names = {name for name in found if type(name) is str and 0 < len(name) <= _CHARS and name.isprintable()}
        answer["matches"] = sorted(names, key=lambda name: (name.startswith("_"), name))[:_MATCHES]
    return answer


class _Search:
    """Looks at what is above the cursor."""

    def __init__(self, namespace: dict, code: str, cursor: int) -> None:
        self._namespace = namespace
        self._whole = code
        self._text = code[:cursor]
        self._end = cursor

    def result(self) -> tuple:
        """Where the part to be replaced begins, and what may stand there."""
        reading = Reading(self._text)
        above = reading.code
        if reading.comment:
            return self._end, ()
        if reading.string is not None:
            begin, quote, prefix = reading.string
            inner = self._text[begin:]
            opened = inner.rfind("{")
            if not set(prefix).isdisjoint("fFtT") and opened > inner.rfind("}"):
                # An expression in an f-string.
                at = begin + opened + 1
                return self._in_code(" " * at + Reading(self._text[at:]).code, reading)
            return self._in_string(above, begin, begin - len(quote) - len(prefix), inner)
        return self._in_code(above, reading)

    def _in_code(self, above: str, reading: Reading) -> tuple:
        line = above[above.rfind("\n") + 1 :]
        magic = _MAGIC.match(line)
        if magic is not None:
            return self._matching(magic.group(2), _magics(magic.group(1)))
        wanted = _FROM_IMPORT.match(line)
        if wanted is not None:
            return self._matching(wanted.group(2), _importable(wanted.group(1)))
        wanted = _IMPORT.match(line)
        if wanted is not None:
            package, _, name = wanted.group(1).rpartition(".")
            return self._matching(name, _modules(package))
        attribute = _ATTRIBUTE.search(above)
        if attribute is not None:
            owner, name = attribute.groups()
            value = "" if owner in "'\"" else self._value(owner)
            return self._matching(name, () if value is _NOTHING else _attributes(value))
        plain = _PLAIN.search(above)
        if plain is None:
            return self._end, ()
        name = plain.group(1)
        return self._matching(name, [*self._arguments(above, reading), *self._names(name)])

    def _matching(self, begun: str, names) -> tuple:
        """Private names are offered to those who ask for them."""
        hidden = "" if begun[:2] == "__" else "__" if begun[:1] == "_" else "_"
        found = [
            name
            for name in names
            if type(name) is str and name.startswith(begun) and not (hidden and name.startswith(hidden))
        ]
        return self._end - len(begun), found

    def _names(self, begun: str) -> list:
        """Variables, builtins and keywords; and, once there is something to go by, words of the code."""
        words = re.findall(rf"(?<![\w.]){_NAME}", Reading(self._whole).code) if begun else ()
        around = [word for word in words if word != begun]
        return [*self._namespace.copy(), *vars(_live_builtins), *kwlist, *_SOFT_KEYWORDS, *around]

    def _arguments(self, above: str, reading: Reading) -> list:
        """Names of arguments, in the brackets of a call."""
        if not reading.brackets or reading.brackets[-1][0] != "(":
            return []
        begin = reading.brackets[-1][1]
        # Behind a name and `=` stands a value.
        if re.search(r"[(,]\s*\w*$", above[begin:]) is None:
            return []
        called = _OWNER.search(above[:begin])
        value = _NOTHING if called is None else self._value(called.group(1))
        return [] if value is _NOTHING else [f"{name}=" for name in parameters(value)]

    def _in_string(self, above: str, begin: int, quote: int, inner: str) -> tuple:
        """Keys behind `variable[`, else files."""
        before = above[:quote].rstrip()
        owner = _OWNER.search(before[:-1]) if before.endswith("[") else None
        if owner is not None:
            value = self._value(owner.group(1))
            keys = () if value is _NOTHING else _keys(value)
            return begin, [key for key in keys if key.startswith(inner) and "'" not in key and "\\" not in key]
        folder, _, name = inner.rpartition("/")
        if "\n" in inner or "\\" in inner:
            return self._end, ()
        return self._end - len(name), _files(inner[: len(inner) - len(name)], name)

    def _value(self, chain: str):
        """What names stand for, or _NOTHING when that is not known."""
        first, *rest = [name.strip() for name in chain.split(".")]
        value = _entry(self._namespace, first)
        if value is _NOTHING:
            value = _entry(vars(_live_builtins), first)
        for name in rest:
            value = _NOTHING if value is _NOTHING else _attribute(value, name)
        return value


def _entry(names, name: str):
    """An entry of a dictionary, whose other keys are not compared."""
    for key, value in list(names.items()):
        if type(key) is str and key == name:
            return value
    return _NOTHING


def _attribute(value, name: str):
    """An attribute, when no code has to be run for it; else _NOTHING."""
    kind = type(value)
    if kind is ModuleType:
        return _entry(_module_dict(value), name)
    if is_type(value):
        found = lookup(value, name)
        return _unwrapped(found) if found is not None else _NOTHING
    defined = lookup(kind, name)
    if type(defined) is MemberDescriptorType:
        try:
            return defined.__get__(value)
        except Exception:
            return _NOTHING  # A slot that holds nothing.
    if defined is None and table_class(kind) == ("pandas", offered("pandas", "DataFrame")) and name in _keys(value):
        # What a column has is known from its class.
        return offered("pandas", "Series")
    own = _entry(instance_dict(value) or {}, name)
    if own is not _NOTHING or defined is None:
        return own
    defined = _unwrapped(defined)
    is_plain = type(defined) is FunctionType or lookup(type(defined), "__get__") is None
    return defined if is_plain else _NOTHING


def _unwrapped(value):
    return value.__func__ if type(value) in (staticmethod, classmethod) else value


def _attributes(value) -> list:
    kind = type(value)
    if kind is ModuleType:
        names = _module_dict(value)
        offered = _entry(names, "__all__")
        return [*list(names), *(offered if type(offered) in (list, tuple) else ())]
    found = list(instance_dict(value) or ())
    for base in _type_mro(value if is_type(value) else kind):
        found += list(_type_dict(base))
    if tabular(value, derived=True) is not None:
        found += [name for name in _keys(value) if name.isidentifier()]
    return found


def _keys(value) -> list:
    """Keys that are text: of a dictionary, or names of columns."""
    if type(value) is dict:
        return [key for key in list(islice(value, _ENTRIES)) if type(key) is str]
    if tabular(value, derived=True) is None:
        return []
    from .tables import look

    return [column["name"] for column in look(value, 1)["columns"]]


def _magics(sign: str) -> list:
    from .magics.helper import WORKING

    return WORKING[sign]


# ── modules and files ───────────────────────────────────────────────────────────────────────────────────────────


def _importable(name: str) -> list:
    """What `from name import` can take: of a module that is loaded its names, else modules below it."""
    loaded = MODULES.get(name)
    names = _attributes(loaded) if type(loaded) is ModuleType else []
    return [*names, *_modules(name)]


def _modules(package: str) -> list:
    """Modules of a package, or those at the top; found by their files, and imported by nobody."""
    names = []
    if not package:
        names += [name for name in list(MODULES) if type(name) is str and "." not in name]
        names += [*sys.builtin_module_names, *getattr(sys, "stdlib_module_names", ())]
    for folder in _folders(package):
        for entry in _listed(folder):
            name, dot, suffix = entry.name.partition(".")
            is_module = suffix.split(".")[-1] in ("py", "so") if dot else _is_folder(entry)
            if is_module and name.isidentifier() and name != "__pycache__":
                names.append(name)
    return names


def _folders(package: str) -> list:
    folders = [part or "." for part in list(sys.path) if type(part) is str]
    for name in package.split(".") if package else ():
        folders = [path.join(folder, name) for folder in folders]
    return folders


def _files(folder: str, begun: str) -> list:
    shown = path.expanduser(folder) if folder else "."
    names = [
        f"{entry.name}/" if _is_folder(entry) else entry.name
        for entry in _listed(shown)
        if entry.name.startswith(begun) and (begun or not entry.name.startswith("."))
    ]
    return [name for name in names if not set(name) & set("'\"\\\n")]


def _listed(folder: str) -> list:
    try:
        with scandir(folder) as entries:
            return list(islice(entries, _ENTRIES))
    except (OSError, ValueError):
        return []


def _is_folder(entry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
