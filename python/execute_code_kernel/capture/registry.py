"""What objects are to the capture: data, data that variables may share, definitions, or things that are referred to.

    data         numbers, texts, tuples, dates: kept by value wherever they occur; identity means nothing, but of NaN
    shared       whatever can change, and every object not known to be immutable: who reaches the same one belongs together
    definitions  classes and functions that no import finds, closure cells, private globals: kept once, with a key
    references   modules, the session's streams, the namespace: found again by what they are

A definition's key says what it is and does not change while its session lives: `f:name@<exec_…>:3`, `c:Name`; a number
is added when there are several. References have keys too: `m:numpy`, `s:stdout`, `n:`.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import builtins as _live_builtins
import sys
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, GetSetDescriptorType, ModuleType

from ..previews import derives, lookup, module_name, type_name
from ..private import MODULES
from . import recipes
from .codes import Codes
from .reasons import Refused

_HEAP_TYPE = 1 << 9
_IMMUTABLE_TYPE = 1 << 8
_flags_of = type.__dict__["__flags__"].__get__
_dict_of = type.__dict__["__dict__"].__get__
_qualname_of = type.__dict__["__qualname__"].__get__
_METHOD = type(list.append)
_MAIN = ("__main__", "__mp_main__")

DATA = None
"""How objects of a type are treated: as data. Otherwise a function of pickler and object that gives its key, or None."""

_DATA = {
    "builtins": "int float complex bool NoneType str bytes tuple frozenset range slice ellipsis NotImplementedType",
    "datetime": "date datetime time timedelta timezone",
    "fractions": "Fraction",
    "uuid": "UUID",
    "pathlib": "PurePath Path PosixPath WindowsPath PurePosixPath PureWindowsPath",
    "re": "Pattern",
    "zoneinfo": "ZoneInfo",
    "ipaddress": "IPv4Address IPv6Address IPv4Network IPv6Network",
    "logging": "Logger RootLogger",
    "types": "GenericAlias UnionType",
    "typing": "Any _GenericAlias _SpecialForm _SpecialGenericAlias _UnionGenericAlias ForwardRef _CallableType",
    "numpy": "dtype ufunc",
    "pandas": "Timestamp Timedelta Period Interval CategoricalDtype DatetimeTZDtype PeriodDtype IntervalDtype",
}
_CONTAINERS = (list, dict, set, bytearray)
_NOT_LIBRARIES = ("builtins", "sys", "execute_code", "execute_code_kernel")
_TYPE_PARAMETERS = ("TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "TypeAliasType")


class Registry:
    """The definitions of one capture, by their keys; keys by identity."""

    def __init__(self, state, reserved=()) -> None:
        """`reserved` are keys that are given already, whether or not their definitions are there."""
        self.namespace = state.namespace
        self._reserved = reserved
        self.codes = Codes(state.sources)
        self.values: dict = {}
        """Definitions by key, in the order in which they were found."""
        self.through: dict = {}
        """By key: the variable, by name, through which a definition was found."""
        self.shared: dict = {}
        """By identity: the number of the root that has met an object first, or the key of a reference."""
        self._keys: dict = {}
        self._counts: dict = {}
        self._members: dict = {}
        self._kept: list = []
        """Keeps what is known by its identity alive."""
        self.ways: dict = {}
        """How objects of a type are treated, by the type's identity."""
        self.recipes: dict = {}
        """What is kept of objects of a type that does not pickle, by the type's identity."""
        self.fields: dict = {}
        """Of exceptions: what their C code and their slots have, by the identity of their type."""
        self.arrays: dict = {}
        """By the identity of an array that owns memory: the arrays seen in it."""
        self.shared_memory: set = set()
        self.of_modules: dict = {}
        """By identity: names of containers that are globals of modules."""
        self.attributes: dict = {}
        """What gives the attributes of objects of cells' classes, and of those that pickle as `object` does, by the identity
        of their type."""
        self.attributes_of: dict = {}
        """Objects by the identity of their dictionaries of attributes."""
        self.aliased: dict = {}
        """Objects whose dictionary of attributes is also used as itself or by another object, by their identity: the
        dictionary's."""
        self.displaced: set = set()
        """Roots that have met a dictionary before it was known as the globals of a function."""
        self._find_references()
        self._find_data()

    # ── references ──────────────────────────────────────────────────────────────────────────────────────────

    def _find_references(self) -> None:
        self.refer(self.namespace, "n:")
        live = vars(_live_builtins)
        self.refer(live, "b:")
        for name in ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"):
            stream = getattr(sys, name, None)
            if stream is not None:
                self.refer(stream, f"s:{name}")
        for name, module in (("environ", "os"), ("path", "sys"), ("modules", "sys"), ("argv", "sys")):
            value = getattr(MODULES.get(module), name, None)
            if value is not None:
                self.refer(value, f"o:{module}:{name}")
        api = getattr(getattr(MODULES.get("execute_code"), "display", None), "__self__", None)
        if api is not None:
            self.refer(api, "a:api")
        current = getattr(MODULES.get("decimal"), "getcontext", None)
        if type(current) is BuiltinFunctionType:
            self.refer(current(), "w:decimal")
        for name, module in _modules():
            self.refer(vars(module), f"d:{name}")

    def _refer_to_globals(self, kind: type) -> None:
        """Objects of a library's class that the library's modules have as their globals: `random`'s own generator, or
        what it knows by its identity, as `dataclasses.MISSING`; and plain `object()`s, whichever module has them."""
        home = module_name(kind)
        top = home.partition(".")[0] if home is not None else ""
        if kind is not object and (top in _MAIN or top in _NOT_LIBRARIES or issubclass(kind, _CONTAINERS)):
            return
        for name, module in _modules():
            if kind is not object and name.partition(".")[0] != top:
                continue
            for attribute, value in list(vars(module).items()):
                if type(value) is kind and type(attribute) is str:
                    self.refer(value, f"o:{name}:{attribute}")

    def find_containers(self) -> None:
        """Containers that modules have as their globals: what is captured of them is a copy."""
        kinds = set(map(id, _CONTAINERS))
        for name, module in _modules():
            for attribute, value in list(vars(module).items()):
                if id(type(value)) in kinds and type(attribute) is str:
                    self.of_modules.setdefault(id(value), f"{name}.{attribute}")

    def refer(self, value, key: str) -> None:
        self.shared.setdefault(id(value), key)
        self._kept.append(value)

    def _find_data(self) -> None:
        for module, names in _DATA.items():
            loaded = MODULES.get(module)
            for name in names.split():
                kind = getattr(loaded, name, None) if loaded is not None else None
                if issubclass(type(kind), type):
                    self._treat(kind, DATA)
        for value in (None, ..., NotImplemented):
            self._treat(type(value), DATA)
        self._treat(float, _float)
        self._treat(complex, _number)
        for name in ("math", "numpy"):
            nan = getattr(MODULES.get(name), "nan", None)
            if type(nan) is float:
                self.refer(nan, f"o:{name}:nan")

    def _treat(self, kind: type, way) -> None:
        self._kept.append(kind)
        self.ways[id(kind)] = way
        recipe = recipes.recipe_for(kind)
        if recipe is not None:
            self.recipes[id(kind)] = recipe
        is_own = recipe is recipes.of_own_making or (recipe is None and module_name(kind) in _MAIN)
        if way is note and (is_own or (recipe is None and recipes.pickles_attributes(kind))):
            descriptor = lookup(kind, "__dict__")
            if type(descriptor) is GetSetDescriptorType:
                self.attributes[id(kind)] = descriptor.__get__

    def meet_attributes(self, pickler, value, attributes) -> None:
        """Told of an object's dictionary before it is pickled."""
        if type(attributes) is not dict:
            pickler.notes.add("its attributes lie in an ordinary dictionary now")
        identity = id(attributes)
        owner = self.shared.get(identity)
        if identity not in self.attributes_of:
            self.attributes_of[identity] = value
            self._kept.append(value)
            if owner is not None:
                self.aliased[id(value)] = identity
        elif self.attributes_of[identity] is not value:
            self._kept.append(value)
            for one in (value, self.attributes_of[identity]):
                self.aliased[id(one)] = identity
        if owner is None:
            self.shared[identity] = pickler.root
        elif owner != pickler.root and type(owner) is int:
            pickler.joins.add((owner, pickler.root))
        if attributes:
            # An empty one is not pickled.
            pickler.expected.add(identity)

    # ── how a type's objects are treated ────────────────────────────────────────────────────────────────────

    def pickles_plainly(self, kind: type) -> bool:
        """Whether objects of a class pickle as `object` does, or as we see to it: all that they are, unless code of their
        class comes in."""
        if any([one is kind for one in vars(MODULES["copyreg"])["dispatch_table"]]):
            return False
        if self.ways.get(id(kind), self) in _DATA_WAYS or id(kind) in self.fields:
            return True
        return id(kind) not in self.recipes and recipes.pickles_attributes(kind)

    def is_data(self, kind: type) -> bool:
        way = self.ways.get(id(kind), self)
        return (self.classify(kind) if way is self else way) in _DATA_WAYS

    def classify(self, kind: type):
        way = self._way(kind)
        if way is note:
            self._refer_to_globals(kind)
        self._treat(kind, way)
        return way

    def _way(self, kind: type):
        if kind is FunctionType:
            return _function
        if issubclass(kind, type):
            return _class
        if issubclass(kind, ModuleType):
            return _module
        if kind is CellType:
            return _cell
        if kind is BuiltinFunctionType or kind is CodeType or kind is _METHOD:
            return DATA
        home, name = module_name(kind), type_name(kind)
        if name in _TYPE_PARAMETERS and home in ("typing", "typing_extensions"):
            return _type_parameter
        if name == "_lru_cache_wrapper" and home == "functools":
            return _lru_cache
        enum = MODULES.get("enum")
        if enum is not None and issubclass(type(kind), enum.EnumMeta):
            return _member if self.class_key(kind) is not None else DATA
        numpy = MODULES.get("numpy")
        if numpy is not None and (derives(kind, numpy.generic) or derives(kind, numpy.dtype)):
            return _number if derives(kind, numpy.number) or derives(kind, numpy.datetime64) else DATA
        if kind is getattr(MODULES.get("decimal"), "Decimal", None):
            return _decimal
        if home == "typing" and name.startswith("_"):
            return DATA
        return note

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def adopt(self, key: str, value) -> None:
        """A definition that has its key already."""
        self.values[key] = value
        self._keys[id(value)] = key
        self._kept.append(value)
        if key[:2] == "g:":
            before = self.shared.get(id(value))
            if type(before) is int:
                self.displaced.add(before)
            self.shared[id(value)] = key

    def _define(self, value, label: str, through: str) -> str:
        count = self._counts.get(label, 0) + 1
        while (key := label if count == 1 else f"{label}#{count}") in self._reserved:
            count += 1
        self._counts[label] = count
        self.adopt(key, value)
        self.through[key] = through
        return key

    def function_key(self, function: FunctionType, through: str = "") -> str | None:
        """None when an import finds it."""
        known = self._keys.get(id(function), self)
        if known is not self:
            return known
        if function.__globals__ is not self.namespace and _is_importable(function, function.__module__, function.__qualname__):
            self._keys[id(function)] = None
            self._kept.append(function)
            return None
        return self._define(function, function_label(function), through)

    def class_key(self, kind: type, through: str = "") -> str | None:
        """None when an import finds it. Raises Refused for classes that are made in C and have no name to find them by."""
        known = self._keys.get(id(kind), self)
        if known is not self:
            return known
        module, name = module_name(kind), _qualname_of(kind)
        if module in _MAIN or not (_is_importable(kind, module, name) or not _flags_of(kind) & _HEAP_TYPE):
            if _flags_of(kind) & _IMMUTABLE_TYPE or any(
                [type(value) is _METHOD and value.__objclass__ is kind for value in list(_dict_of(kind).values())]
            ):
                raise Refused(f"no import finds the type {type_name(kind)!r}")
            return self._define(kind, class_label(kind), through)
        self._keys[id(kind)] = None
        self._kept.append(kind)
        return None

    def member(self, key: str, name: str) -> str:
        """The key of a member of an enumeration; the same object each time, which pickles remember."""
        return self._members.setdefault((key, name), f"e:{len(name)}:{name}{key}")

    def other_key(self, value, label: str, through: str = "") -> str:
        known = self._keys.get(id(value))
        return known or self._define(value, label, through)

    def globals_key(self, function: FunctionType, through: str = "") -> str:
        """What stands for a function's globals: a module, the namespace, or a dictionary of its own."""
        known = function.__globals__
        if type(known) is not dict:
            raise Refused("its globals are a dictionary of a class of its own")
        key = self.shared.get(id(known))
        if type(key) is str:
            return key
        name = known.get("__name__")
        module = MODULES.get(name) if type(name) is str else None
        if module is not None and vars(module) is known:
            return f"m:{name}"
        return self._define(known, f"g:{name if type(name) is str else ''}", through)

    def builtins_key(self, function: FunctionType, through: str = "") -> str:
        """What stands for a function's builtins, which are its globals' until Python 3.10: those of Python itself, or a
        dictionary of its own, which is treated as globals are."""
        known = getattr(function, "__builtins__", None)
        if known is None:
            known = function.__globals__.get("__builtins__")
            known = vars(known) if type(known) is ModuleType else known
        if type(known) is not dict:
            return "b:"
        key = self.shared.get(id(known))
        return key if type(key) is str else self._define(known, "g:builtins", through)


def function_label(function: FunctionType) -> str:
    """The first key of a function that the capture holds; others of the same place have a number, too."""
    code = function.__code__
    return f"f:{str(function.__qualname__)}@{code.co_filename}:{code.co_firstlineno}"


def class_label(kind: type) -> str:
    """The first key of a class that the capture holds; others of the same name have a number, too."""
    return f"c:{str(_qualname_of(kind))}"


def note(pickler, value):
    """Remembers who reaches a value first, and joins those who reach it later."""
    registry = pickler.registry
    if type(value) is dict and pickler.root is not None:
        if id(value) in pickler.expected:
            pickler.expected.remove(id(value))
        elif id(value) in registry.attributes_of:
            registry.aliased[id(registry.attributes_of[id(value)])] = id(value)
    owner = registry.shared.get(id(value))
    if owner is None:
        if pickler.root is not None:
            if id(value) in registry.of_modules:
                pickler.notes.add(f"it has a copy of {registry.of_modules[id(value)]}")
            registry.shared[id(value)] = pickler.root
            registry._kept.append(value)
    elif owner.__class__ is str:
        return pickler.need(owner)
    elif owner != pickler.root and pickler.root is not None:
        pickler.joins.add((owner, pickler.root))
    return None


def _float(pickler, value):
    """Data, unless it is no number: such a one equals itself only by being the same object."""
    if value == value:
        return None
    key = note(pickler, value)
    return pickler.nan_key(value) if key is None else key


def _number(pickler, value):
    return None if value == value else note(pickler, value)


def _decimal(pickler, value):
    return note(pickler, value) if value.is_nan() else None


_DATA_WAYS = (DATA, _float, _number, _decimal)


def _function(pickler, value):
    maker = recipes.MAKER_KEYS.get(id(value))
    if maker is not None:
        return maker
    key = pickler.registry.function_key(value, pickler.through)
    return None if key is None else pickler.need(key)


def _class(pickler, value):
    if module_name(value) == "_ctypes":
        for name in ("Structure", "Union", "Array", "_SimpleCData", "_Pointer", "CFuncPtr"):
            if type(getattr(MODULES.get("_ctypes"), name, None)) is value:
                return pickler.need(f"y:_ctypes:{name}")
    key = pickler.registry.class_key(value, pickler.through)
    if key is not None:
        return pickler.need(key)
    if module_name(value) == "builtins" and vars(_live_builtins).get(type_name(value)) is not value:
        for name, kind in list(vars(MODULES["types"]).items()) if "types" in MODULES else ():
            if kind is value:
                return pickler.need(f"o:types:{name}")
    return None


def _module(pickler, value):
    name = vars(value).get("__name__")
    if type(name) is str and MODULES.get(name) is value:
        return pickler.need(f"m:{name}")
    raise Refused("it is a module that no import finds")


def _cell(pickler, value):
    return pickler.need(pickler.registry.other_key(value, "x:", pickler.through))


def _type_parameter(pickler, value):
    name, module = str(value.__name__), value.__module__
    if module not in _MAIN and _is_importable(value, module, name):
        return None
    return pickler.need(pickler.registry.other_key(value, f"t:{name}", pickler.through))


def _lru_cache(pickler, value):
    name, module = getattr(value, "__qualname__", ""), getattr(value, "__module__", None)
    if module not in _MAIN and _is_importable(value, module, name):
        return None
    pickler.notes.add("its cache is empty")
    return pickler.need(pickler.registry.other_key(value, f"l:{name}", pickler.through))


def _member(pickler, value):
    """A member of an enumeration that is captured by value; one that stands for several flags pickles as their sum."""
    kind = type(value)
    name = vars(value).get("_name_")
    if type(name) is str and _dict_of(kind).get("_member_map_", {}).get(name) is value:
        key = pickler.registry.class_key(kind, pickler.through)
        pickler.need(key)
        return pickler.registry.member(key, name)
    return None


def _is_importable(value, module, name) -> bool:
    """Whether an import of a module gives this object under its name."""
    if type(module) is not str or module in _MAIN or module not in MODULES:
        return False
    found = MODULES[module]
    try:
        for part in str(name).split("."):
            found = getattr(found, part)
    except Exception:
        return False
    return found is value


def _modules() -> list:
    """Modules of the standard library and others, by their names."""
    return [
        (name, module)
        for name, module in list(MODULES.items())
        if type(module) is ModuleType
        and type(name) is str
        and name not in _MAIN
        and name.partition(".")[0] not in _NOT_LIBRARIES
        and vars(module).get("__name__") == name
    ]
