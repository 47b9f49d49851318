"""Objects that do not pickle, or not rightly: what is kept of them, and how they are made again.

A recipe is a function of pickler and object that gives what `__reduce__` would: a maker and its arguments. It raises
Refused for an object that cannot be kept, and notes what will not be as it was. Makers are referred to by their names
here (`k:lock`), wherever they lie.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

import builtins as _live_builtins
import gc
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    WrapperDescriptorType,
)

from ..previews import derives, instance_dict, lookup, module_name, type_name
from ..private import MODULES
from . import arrays, files
from .reasons import Refused

MAKERS: dict = {}
"""What makes things again, by name."""
MAKER_KEYS: dict = {}
"""Keys of makers by their identity."""

_LOST = {
    "threading": {"Thread": "a thread", "_DummyThread": "a thread", "_MainThread": "a thread", "Timer": "a thread"},
    "subprocess": {"Popen": "a running program"},
    "tempfile": {"TemporaryDirectory": "a folder that its session removes", "_TemporaryFileWrapper": "a file that its session removes"},
    "weakref": {"finalize": "a finalizer"},
    "concurrent.futures.thread": {"ThreadPoolExecutor": "a pool of threads"},
    "concurrent.futures.process": {"ProcessPoolExecutor": "a pool of processes"},
    "concurrent.futures._base": {"Future": "work in progress"},
    "multiprocessing.context": {"Process": "a process", "ForkProcess": "a process", "SpawnProcess": "a process"},
    "multiprocessing.process": {"BaseProcess": "a process"},
    "asyncio.base_events": {"BaseEventLoop": "an event loop"},
    "selectors": {"_BaseSelectorImpl": "a selector"},
    "http.client": {"HTTPConnection": "a connection", "HTTPResponse": "a connection"},
    "socketserver": {"BaseServer": "a server"},
    "_thread": {"_localdummy": "a thread's own data"},
}
"""Objects whose pickles, where they have any, would be of something that is not there any more."""
_MAIN = ("__main__", "__mp_main__")
_FIELDS = (MemberDescriptorType, GetSetDescriptorType)
_FORGETTING = ("collections", "fractions", "pathlib", "pathlib._local")
_MISSING = object()
_TYPES: dict = {}
"""Recipes by the module and the name of a type."""


def maker(function):
    name = function.__name__.strip("_")
    MAKERS[name] = function
    MAKER_KEYS[id(function)] = f"k:{name}"
    return function


def _recipe(module: str, *names: str):
    def register(function):
        for name in names:
            _TYPES[module, name] = function
        return function

    return register


def recipe_for(kind: type):
    """The recipe for objects of a type, or None when they pickle by themselves."""
    own = (module_name(kind), type_name(kind))
    found = _TYPES.get(own)
    if found is not None:
        return found
    for base in type.__dict__["__mro__"].__get__(kind):
        reason = _LOST.get(module_name(base), {}).get(type_name(base))
        if reason is not None:
            return _lost(reason)
    if derives(kind, BaseException):
        return _exception
    if own[0] in _MAIN and _is_made_by_own_code(kind):
        return of_own_making
    for base, recipe in ((property, _property), (staticmethod, _method_wrapper), (classmethod, _method_wrapper)):
        if derives(kind, base) and lookup(kind, "__reduce_ex__") is object.__dict__["__reduce_ex__"]:
            return recipe
    if any([(module_name(base), type_name(base)) == ("_ctypes", "_CData") for base in type.__dict__["__mro__"].__get__(kind)]):
        return _ctypes_data
    found = arrays.recipe_for(kind) or files.recipe_for(kind)
    return found or (_with_attributes if _forgets_attributes(kind) else None)


def _is_made_by_own_code(kind: type) -> bool:
    """Whether a class that pickles as `object` does makes its objects, or finds, sets or fills them, by code of its own."""
    if any([lookup(kind, name) is not object.__dict__[name] for name in ("__reduce__", "__reduce_ex__")]):
        return False
    if any([type(lookup(kind, name)) is FunctionType for name in ("__getnewargs__", "__getnewargs_ex__")]):
        return False
    return type(lookup(kind, "__new__")) is staticmethod or _finds_attributes(kind) or _fills_itself(kind)


def _finds_attributes(kind: type) -> bool:
    """Or sets them, which matters to slots."""
    return _has_functions(kind, "__getattr__", "__getattribute__") or (
        _has_functions(kind, "__setattr__") and bool(_own_slots(kind))
    )


def _fills_itself(kind: type) -> bool:
    return (derives(kind, dict) and _has_functions(kind, "__setitem__", "items")) or (
        derives(kind, list) and _has_functions(kind, "append", "extend", "__iter__")
    )


def _has_functions(kind: type, *names) -> bool:
    return any([type(lookup(kind, name)) is FunctionType for name in names])


def of_own_making(pickler, value):
    """Code that makes and fills objects is not run a second time: it may count, register, change what it is given or give
    another object. Code that finds attributes is not asked before there are any."""
    kind = type(value)
    made, arguments, state, *items = object.__reduce_ex__(value, 4)
    if getattr(made, "__name__", "") != "__newobj__":
        return (made, arguments, state, *items)
    if _fills_itself(kind):
        content = list(list.__iter__(value)) if derives(kind, list) else None
        return _filled(raw_object, arguments, state, content, dict.items(value) if derives(kind, dict) else ())
    if state is not None and _finds_attributes(kind) and lookup(kind, "__setstate__") is None:
        return (raw_object, arguments, state, *items, set_state)
    return (raw_object, arguments, state, *items)


def _filled(made, arguments, state, items, entries) -> tuple:
    return (made, arguments, (state, list(items or ()), list(entries or ())), None, None, set_content)


@maker
def set_content(value, state):
    """By the code of the built-in class that it derives from."""
    state, items, entries = state
    kind = type(value)
    if items:
        _in_c(kind, "extend")(value, items)
    put = _in_c(kind, "__setitem__")
    for key, item in entries:
        put(value, key, item)
    if lookup(kind, "__setstate__") is not None:
        value.__setstate__(state)
    elif state is not None:
        set_state(value, state)


def _in_c(kind: type, name: str):
    for base in type.__dict__["__mro__"].__get__(kind):
        found = type.__dict__["__dict__"].__get__(base).get(name)
        if type(found) in (MethodDescriptorType, WrapperDescriptorType):
            return found
    return None


def with_its_dictionary(pickler, value):
    """An object whose attributes are also used as the dictionary that they lie in, or are another object's, too."""
    made, arguments, state, *items = object.__reduce_ex__(value, 4)
    attributes = instance_dict(value)
    kind = type(value)
    plain = getattr(made, "__name__", "") == "__newobj__" and pickles_attributes(kind) and not _fills_itself(kind)
    if not plain or (state is not attributes and (state is not None or attributes)):
        raise Refused("its attributes are used as a dictionary or by another object, too, and are pickled in a way of their own")
    return (raw_object, arguments, attributes, *items, set_dictionary)


def pickles_attributes(kind: type) -> bool:
    """Whether an object's attributes are pickled as the dictionary that they lie in, and put back by Python itself."""
    plain = all([lookup(kind, name) is object.__dict__[name] for name in ("__reduce__", "__reduce_ex__")])
    return plain and lookup(kind, "__getstate__") is object.__dict__.get("__getstate__") and lookup(kind, "__setstate__") is None


def _forgets_attributes(kind: type) -> bool:
    """Whether objects of a class have attributes, and are reduced by code of Python's own, which does not know of those
    that a derived class or its user adds."""
    if lookup(kind, "__setstate__") is not None:
        return False
    ways = [lookup(kind, "__reduce_ex__"), lookup(kind, "__reduce__")]
    way = ways[1] if ways[0] is object.__dict__["__reduce_ex__"] else ways[0]
    in_c = type(way) is MethodDescriptorType and way.__objclass__ is not object
    forgets = in_c or type(way) is FunctionType and way.__module__ in _FORGETTING
    return forgets and (type(lookup(kind, "__dict__")) is GetSetDescriptorType or bool(_own_slots(kind)))


def _own_slots(kind: type) -> list:
    """Slots of classes of cells, by their names."""
    return [
        (name, field)
        for owner in type.__dict__["__mro__"].__get__(kind)
        if module_name(owner) in _MAIN
        for name, field in list(type.__dict__["__dict__"].__get__(owner).items())
        if type(field) is MemberDescriptorType
    ]


def _with_attributes(pickler, value):
    reduced = value.__reduce_ex__(5)
    if type(reduced) is not tuple or len(reduced) > 5:
        return reduced
    made, arguments, state, items, entries = (*reduced, None, None, None)[:5]
    if state is None:
        slots = {name: content for name, field in _own_slots(type(value)) if (content := _content(field, value)) is not _MISSING}
        state = (instance_dict(value) or None, slots) if slots else instance_dict(value) or None
    if (items or entries) and _fills_itself(type(value)):
        return _filled(made, arguments, state, items, entries)
    return (made, arguments, state, items, entries)


@maker
def set_state(value, state):
    attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
    if attributes:
        object.__getattribute__(value, "__dict__").update(attributes)
    for name, item in (slots or {}).items():
        object.__setattr__(value, name, item)


@maker
def set_dictionary(value, state):
    object.__setattr__(value, "__dict__", state)


@maker
def raw_object(kind, *arguments):
    for base in type.__dict__["__mro__"].__get__(kind):
        new = type.__dict__["__dict__"].__get__(base).get("__new__")
        if type(new) is BuiltinFunctionType:
            return new(kind, *arguments)
    return object.__new__(kind)


def _lost(what: str):
    def refuse(pickler, value):
        raise Refused(f"{what} cannot be captured")

    return refuse


# ── parts of Python itself ──────────────────────────────────────────────────────────────────────────────────────


@_recipe("builtins", "code")
def _code(pickler, value: CodeType):
    return (code, (pickler.registry.codes.reference(value),))


@maker
def code(reference):
    raise Refused("code is found by whoever restores it")


@_recipe("builtins", "method")
def _method(pickler, value: MethodType):
    owner, function = value.__self__, value.__func__
    if type(function) is FunctionType:
        return (method, (function, owner))
    return NotImplemented


@maker
def method(function, owner):
    return MethodType(function, owner)


@_recipe("builtins", "staticmethod", "classmethod")
def _method_wrapper(pickler, value):
    return (wrapper, (type(value), value.__func__), _dict_without(value, "__wrapped__"))


@maker
def wrapper(kind, *arguments):
    """A property, static method or class method, whatever the class derives from it."""
    base = next(base for base in (property, staticmethod, classmethod) if derives(kind, base))
    made = base.__new__(kind)
    base.__init__(made, *arguments)
    return made


_WRAPPED = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__", "__annotate__")


def _dict_without(value, *names):
    """Attributes that were added to a wrapper; what it takes from its function it will take again."""
    kept = {name: item for name, item in (getattr(value, "__dict__", None) or {}).items() if name not in (*names, *_WRAPPED)}
    return kept or None


@_recipe("builtins", "property")
def _property(pickler, value):
    own_doc = value.__doc__ if value.fget is None or value.__doc__ != getattr(value.fget, "__doc__", None) else None
    if own_doc is not None and type(own_doc) is not str:
        own_doc = None
    arguments = (type(value), value.fget, value.fset, value.fdel, own_doc)
    name = getattr(value, "__name__", None)
    if name == getattr(value.fget, "__name__", None):
        return (wrapper, arguments, _dict_without(value))
    return (named_property, (name, *arguments), _dict_without(value))


@maker
def named_property(name, *arguments):
    made = wrapper(*arguments)
    if "__name__" in vars(property):  # Since Python 3.13.
        made.__name__ = name
    return made


@_recipe("builtins", "super")
def _super(pickler, value):
    bound = value.__self__
    return (super, (value.__thisclass__,) if bound is None else (value.__thisclass__, bound))


@_recipe("builtins", "mappingproxy")
def _mappingproxy(pickler, value):
    behind = gc.get_referents(value)
    if len(behind) != 1:
        raise Refused("what is behind a mappingproxy cannot be seen")
    if type(behind[0]) is dict:
        for name in ("__dict__", "__weakref__"):
            owner = getattr(behind[0].get(name), "__objclass__", None)
            if issubclass(type(owner), type) and gc.get_referents(type.__dict__["__dict__"].__get__(owner))[0] is behind[0]:
                return (class_dict, (owner,))
    return (MappingProxyType, (behind[0],))


@maker
def class_dict(kind):
    return type.__dict__["__dict__"].__get__(kind)


@_recipe("builtins", "memoryview")
def _memoryview(pickler, value):
    owner = value.obj
    if type(owner) not in (bytes, bytearray) or not value.contiguous or value.ndim != 1 or value.format != "B":
        raise Refused("a memoryview that is not of plain bytes cannot be captured")
    start = _offset(value, owner)
    if start is None:
        raise Refused("where a memoryview begins cannot be seen")
    if value.readonly and type(owner) is bytearray:
        return (view, (owner, start, len(value), True))
    return (view, (owner, start, len(value), False))


def _offset(value: memoryview, owner) -> int | None:
    if len(value) == len(owner):
        return 0
    try:
        from ctypes import addressof, c_char
    except ImportError:
        return None
    if value.readonly or type(owner) is bytes:
        found = bytes(value)
        start = bytes(owner).find(found)
        return start if start >= 0 and (type(owner) is bytes or bytes(owner).find(found, start + 1) < 0) else None
    whole = memoryview(owner)
    try:
        return addressof(c_char.from_buffer(value)) - addressof(c_char.from_buffer(whole))
    except (TypeError, ValueError):
        return None


@maker
def view(owner, start, length, readonly):
    made = memoryview(owner)[start : start + length]
    return made.toreadonly() if readonly else made


@_recipe("builtins", "dict_keys", "dict_values", "dict_items")
@_recipe("builtins", "odict_keys", "odict_values", "odict_items")
def _dict_view(pickler, value):
    behind = gc.get_referents(value)
    if len(behind) != 1 or not derives(type(behind[0]), dict):
        raise Refused("what is behind a view of a dictionary cannot be seen")
    return (dict_view, (behind[0], type_name(type(value))))


@maker
def dict_view(table, name):
    kind, _, name = name.rpartition("_")
    return getattr(MODULES["collections"].OrderedDict if kind == "odict" else dict, name)(table)


@_recipe("builtins", "dict_keyiterator", "dict_valueiterator", "dict_itemiterator")
@_recipe("builtins", "dict_reversekeyiterator", "dict_reversevalueiterator", "dict_reverseitemiterator")
def _dict_iterator(pickler, value):
    """It goes on over the same dictionary; its own reduction is the list of what is left."""
    # At its end it has none.
    table = [*[one for one in gc.get_referents(value) if derives(type(one), dict)], {}][0]
    try:
        left = len(value.__reduce__()[1][0])
    except RuntimeError:
        raise Refused("its dictionary has changed since the iterator was made") from None
    return (dict_iterator, (table, type_name(type(value))[5:-8], len(table), len(table) - left))


@maker
def dict_iterator(table, name, size, consumed):
    if len(table) != size:
        raise Refused("an iterator over a dictionary that it lies in cannot be captured")
    backwards = name[:7] == "reverse"
    view = {"key": dict.keys, "value": dict.values, "item": dict.items}[name[7:] if backwards else name](table)
    made = reversed(view) if backwards else iter(view)
    for _ in range(consumed):
        next(made)
    return made


@_recipe("builtins", "set_iterator", "odict_iterator")
def _iterator_of_what_is_left(pickler, value):
    """The order of a set is each process's own, and what an iterator of an OrderedDict gives is not to be seen."""
    if gc.get_referents(value):
        pickler.notes.add(f"a {type_name(type(value))!r} object comes back as a 'list_iterator' object")
    return NotImplemented


@_recipe("builtins", "traceback", "frame")
def _frame(pickler, value):
    raise Refused(f"cannot pickle {type_name(type(value))!r} object")


# ── exceptions ──────────────────────────────────────────────────────────────────────────────────────────────────


def _exception(pickler, value: BaseException):
    """Their C code has fields that no reduction tells of. Neither `__new__` nor `__init__` of session code runs again."""
    kind = type(value)
    if value.__traceback__ is not None:
        pickler.notes.add("its traceback is not kept")
    own = [lookup(kind, name) for name in ("__reduce__", "__reduce_ex__")]
    if all([type(one) is MethodDescriptorType and module_name(one.__objclass__) == "builtins" for one in own]):
        group = getattr(_live_builtins, "BaseExceptionGroup", None)
        arguments = (value.message, list(value.exceptions)) if derives(kind, group) else ()
        fields = pickler.registry.fields
        if id(kind) not in fields:
            fields[id(kind)] = _fields_of(kind, group)
        contents = [(owner, name, _content(field, value)) for owner, name, field in fields[id(kind)]]
        # What a new one has anyway is left out.
        contents = [one for one in contents if one[2] is not None and one[2] is not False and one[2] is not _MISSING]
        return (raw_object, (kind, *arguments), (instance_dict(value) or {}, contents), None, None, set_fields)
    reduced = value.__reduce_ex__(5)
    if type(reduced) is not tuple or len(reduced) > 5:
        return reduced
    made, arguments, state, items, entries = (*reduced, None, None, None)[:5]
    links = (value.__cause__, value.__context__, value.__suppress_context__)
    notes = (instance_dict(value) or {}).get("__notes__")
    return (made, arguments, (state, links, notes), items, entries, set_state_and_links)


_NO_FIELDS = ("__dict__", "__weakref__", "__traceback__")


def _fields_of(kind: type, group) -> list:
    """What lies in an exception beside its dictionary: the class that has a field, its name, its descriptor."""
    found = [
        (owner, name, field)
        for owner in type.__dict__["__mro__"].__get__(kind)
        if owner is not group and owner is not object
        for name, field in list(type.__dict__["__dict__"].__get__(owner).items())
        if type(field) in _FIELDS and field.__objclass__ is owner and name not in _NO_FIELDS
    ]
    # To set a cause sets that, too.
    return sorted(found, key=lambda one: one[1] == "__suppress_context__")


def _content(field, value):
    try:
        return field.__get__(value)
    except (AttributeError, TypeError):
        return _MISSING  # It is not set.


@maker
def set_fields(error, state):
    attributes, fields = state
    vars(error).update(attributes)
    for owner, name, value in fields:
        field = vars(owner).get(name)
        if type(field) in _FIELDS:  # Else it is one of another version of Python.
            field.__set__(error, value)


@maker
def set_state_and_links(error, state):
    state, links, notes = state
    if state is not None:
        error.__setstate__(state)
    if notes is not None:
        vars(error)["__notes__"] = notes
    error.__cause__, error.__context__, error.__suppress_context__ = links


@maker
def raw_exception(kind, arguments):
    """For captures of older versions, as `set_links`."""
    made = kind.__new__(kind, *arguments)
    made.args = arguments
    return made


@maker
def set_links(error, state):
    attributes, (cause, context, suppress) = state
    vars(error).update(attributes)
    error.__cause__, error.__context__, error.__suppress_context__ = cause, context, suppress


# ── threading ───────────────────────────────────────────────────────────────────────────────────────────────────


@_recipe("_thread", "lock", "LockType")
def _lock(pickler, value):
    if value.locked():
        raise Refused("a lock that is held cannot be captured")
    return (lock, ())


@maker
def lock():
    from _thread import allocate_lock

    return allocate_lock()


@_recipe("_thread", "RLock")
def _rlock(pickler, value):
    # The C type's own repr.
    if not repr(value).startswith("<unlocked"):
        raise Refused("a lock that is held cannot be captured")
    return (rlock, ())


@maker
def rlock():
    from _thread import RLock

    return RLock()


@_recipe("_thread", "_local")
def _local(pickler, value):
    pickler.notes.add("of a threading.local, the main thread's attributes are kept")
    return (type(value), (), dict(vars(value)))


@_recipe("_queue", "SimpleQueue")
def _simple_queue(pickler, value):
    items = []
    # This process is thrown away, but for the one that compares.
    while not value.empty():
        items.append(value.get_nowait())
    for item in items:
        value.put(item)
    return (simple_queue, (items,))


@maker
def simple_queue(items):
    from _queue import SimpleQueue

    made = SimpleQueue()
    for item in items:
        made.put(item)
    return made


# ── references that do not hold ─────────────────────────────────────────────────────────────────────────────────


@_recipe("weakref", "ReferenceType", "weakref")
@_recipe("builtins", "weakref", "ReferenceType")
@_recipe("weakref", "WeakMethod", "KeyedRef")
def _weakref(pickler, value):
    from _weakref import ref

    if type(value) is not ref:
        raise Refused(f"cannot pickle {type_name(type(value))!r} object")
    target = ref.__call__(value)
    if target is None:
        return (dead_reference, ())
    callback = value.__callback__
    return (reference, (target,) if callback is None else (target, callback))


@maker
def reference(*arguments):
    from _weakref import ref

    return ref(*arguments)


@maker
def dead_reference():
    from _weakref import ref

    return ref(type("Gone", (), {})())


@_recipe("weakref", "weakproxy", "ProxyType", "weakcallableproxy", "CallableProxyType")
@_recipe("builtins", "weakproxy", "weakcallableproxy")
def _weakproxy(pickler, value):
    raise Refused("cannot pickle 'weakproxy' object")


@_recipe("weakref", "WeakValueDictionary", "WeakKeyDictionary")
def _weak_dictionary(pickler, value):
    own = ("data", "_remove", "_pending_removals", "_iterating", "_dirty_len")
    added = {name: item for name, item in vars(value).items() if name not in own}
    return (type(value), (dict(value.items()),), added or None)


@_recipe("_weakrefset", "WeakSet")
@_recipe("weakref", "WeakSet")
def _weak_set(pickler, value):
    return (type(value), (list(value),))


# ── others of the standard library ──────────────────────────────────────────────────────────────────────────────


@_recipe("re", "Match")
@_recipe("_sre", "SRE_Match")
def _match(pickler, value):
    return (match, (value.re, value.string, value.pos, value.endpos, value.regs))


@maker
def match(pattern, text, pos, endpos, regs):
    for way in ("match", "fullmatch", "search"):
        found = getattr(pattern, way)(text, pos, endpos)
        if found is not None and found.regs == regs:
            return found
    for found in pattern.finditer(text, pos, endpos):
        if found.regs == regs:
            return found
    raise Refused("a match that cannot be found a second time")


@_recipe("contextvars", "ContextVar")
@_recipe("_contextvars", "ContextVar")
@_recipe("builtins", "ContextVar")
def _context_variable(pickler, value):
    missing = object()
    current = value.get(missing)
    default = [one for one in gc.get_referents(value) if one is not value.name]
    if current is missing:
        return (context_variable, (value.name, default[:1], []))
    is_set = not (default and current is default[0])
    return (context_variable, (value.name, default[:1], [current] if is_set else []))


@maker
def context_variable(name, default, current):
    # Setting it changes nothing that another variable would see.
    from contextvars import ContextVar

    made = ContextVar(name, default=default[0]) if default else ContextVar(name)
    if current:
        made.set(current[0])
    return made


@_recipe("random", "SystemRandom")
def _system_random(pickler, value):
    return (type(value), ())


@_recipe("logging", "Logger", "RootLogger")
def _logger(pickler, value):
    manager = MODULES["logging"].root.manager
    if value is not MODULES["logging"].root and manager.loggerDict.get(value.name) is not value:
        return NotImplemented
    state = (value.level, value.propagate, value.disabled, list(value.handlers), list(value.filters))
    added = {name: item for name, item in vars(value).items() if name not in _OF_LOGGERS}
    plain = state == (0, True, False, [], []) and not added
    state = (*state, added) if added else state
    return (logger, (value.name if value is not MODULES["logging"].root else None, None if plain else state))


_OF_LOGGERS = ("name", "level", "parent", "propagate", "handlers", "disabled", "filters", "manager", "_cache")


def known_logger(name, _):
    """In place of `logger` where nothing may change: when a capture is read back."""
    from logging import getLogger

    return getLogger(name)


@maker
def logger(name, state):
    from logging import getLogger

    made = getLogger(name)
    if state is not None:
        level, made.propagate, made.disabled, made.handlers, made.filters, *added = state
        made.setLevel(level)
        for attributes in added:
            vars(made).update(attributes)
    return made


@_recipe("_struct", "Struct")
def _struct(pickler, value):
    return (type(value), (value.format,))


@_recipe("sqlite3", "Connection")
def _connection(pickler, value):
    raise Refused("an open database cannot be captured; connect to it again")


def _ctypes_data(pickler, value):
    if value._b_base_ is not None or any([type(one) is memoryview for one in _values(value._objects)]):
        pickler.notes.add("an object of ctypes has memory of its own now")
    return NotImplemented


def _values(found) -> list:
    return list(found.values()) if type(found) is dict else [found]


for _function in (*arrays.MAKERS, *files.MAKERS):
    maker(_function)
