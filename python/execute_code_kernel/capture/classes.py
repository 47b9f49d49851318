"""Classes of cells by value.

A class is made by the constructor of its metaclass's innermost built-in base, usually `type.__new__`, and its attributes
are set as `type` sets them: no `__prepare__`, `__new__`, `__init__` or `__setattr__` of a metaclass, no
`__init_subclass__` and no `__set_name__` runs a second time; what they did lies in the attributes.

Stages: attributes that are functions or wrap them; members of an enumeration; all other attributes. So a class has its
methods before anything is made that may be an object of it.
"""

from __future__ import annotations

from ..private import builtins as __builtins__

from sys import intern, version_info
from types import BuiltinFunctionType, FunctionType, GetSetDescriptorType, MemberDescriptorType, WrapperDescriptorType

from ..previews import derives, module_name, type_name
from ..private import MODULES
from .reasons import Refused

_dict_of = type.__dict__["__dict__"].__get__
_mro_of = type.__dict__["__mro__"].__get__
_bases_of = type.__dict__["__bases__"].__get__
_set = type.__setattr__
_IN_HEAD = ("__module__", "__qualname__", "_abc_impl", "__dict__", "__weakref__", "__slotnames__")
"""What the head has or makes; and what `copyreg` keeps in a class whose objects are pickled."""
_VERSIONED = ("enum", "typing", "_ctypes")
"""Modules whose metaclasses keep tables of their own in a class, which differ between versions of Python."""
_SETTABLE = ("__doc__", "__module__", "__abstractmethods__", "__annotations__", "__type_params__", "__annotate__")
"""Attributes that `type` has descriptors for, and that are set like others."""
_FUNCTIONS = (FunctionType, staticmethod, classmethod, property)
_ENUM_TABLES = ("_member_map_", "_value2member_map_")


# ── taking apart ────────────────────────────────────────────────────────────────────────────────────────────────


def head_of(kind: type) -> dict:
    attributes = _dict_of(kind)
    head = {
        "metaclass": type(kind),
        "name": intern(str(type_name(kind))),
        "bases": _bases_of(kind),
        "module": attributes.get("__module__"),
        "qualname": intern(str(type.__dict__["__qualname__"].__get__(kind))),
    }
    slots = [intern(name) for name, value in attributes.items() if _is_slot(kind, name, value)]
    if "__slots__" in attributes or set(slots) - {"__dict__", "__weakref__"}:
        head["slots"] = tuple(sorted(slots))
    if module_name(type(kind)) in _VERSIONED:
        head["python"] = list(version_info[:2])
    early = {name: value for name, value in attributes.items() if _is_early(kind, name) and name not in _IN_HEAD}
    if early:
        head["early"] = early
    if _is_ctypes(type(kind)):
        # Of these the memory layout is made.
        head["layout"] = {name: attributes[name] for name in ("_pack_", "_anonymous_", "_fields_", "_type_", "_length_") if name in attributes}
    return head


def _is_early(kind: type, name) -> bool:
    """Whether an attribute can be there from the start only: set later, it would be its metaclass's."""
    if name in _SETTABLE:
        return False
    for base in _mro_of(type(kind)):
        if name in _dict_of(base):
            return any(["__set__" in _dict_of(one) for one in _mro_of(type(_dict_of(base)[name]))])
    return False


def stages_of(registry, kind: type) -> list:
    functions, others = {}, {}
    for name, value in settable(kind):
        (functions if type(value) in _FUNCTIONS else others)[name] = value
    registered = _registered(kind)
    members = _members(registry, kind)
    if members is not None:
        for name in _ENUM_TABLES:
            table = others.get(name)
            if type(table) is dict:
                # Members that stand for several flags are made when they are asked for.
                named = set(map(id, _dict_of(kind)["_member_map_"].values()))
                others[name] = {key: member for key, member in table.items() if id(member) in named}
    stages = [functions]
    if members is not None:
        stages.append(("members", members))
    if others or registered:
        stages.append(("others", others, registered))
    return stages


def settable(kind: type) -> list:
    """Attributes that the stages hold, with their names."""
    left_out = {*_IN_HEAD, *_left_out(kind)}
    return [
        (name, value)
        for name, value in list(_dict_of(kind).items())
        if name not in left_out and not _is_slot(kind, name, value) and not _is_early(kind, name)
    ]


def _left_out(kind: type) -> tuple:
    if not _is_ctypes(type(kind)):
        return ()
    fields = _dict_of(kind).get("_fields_", ())
    return ("_pack_", "_anonymous_", "_fields_", "_type_", "_length_", *[field[0] for field in fields])


def _is_slot(kind: type, name, value) -> bool:
    """Whether an attribute is one that the class gets with its memory layout, under its own name."""
    return type(value) in (GetSetDescriptorType, MemberDescriptorType) and value.__objclass__ is kind and value.__name__ == name


def _registered(kind: type) -> list:
    """The classes that were registered with an abstract base class."""
    abc = MODULES.get("_abc")
    if abc is None or "_abc_impl" not in _dict_of(kind):
        return []
    registered = [reference() for reference in abc._get_dump(kind)[0]]
    return sorted([one for one in registered if one is not None], key=lambda one: (str(one.__module__), type_name(one)))


def _members(registry, kind: type) -> list | None:
    """Names, arguments of the data type's constructor and attributes of an enumeration's members."""
    enum = MODULES.get("enum")
    if enum is None or not derives(type(kind), enum.EnumMeta):
        return None
    found, seen = [], set()
    for name, member in _dict_of(kind).get("_member_map_", {}).items():
        if id(member) in seen:
            continue  # Another name of the same member.
        seen.add(id(member))
        data = _dict_of(kind).get("_member_type_", object)
        arguments = ()
        if data is not object:
            for base in (int, str, float, bytes, complex, tuple):
                if derives(data, base):
                    arguments = (base.__getnewargs__(member) if base is not complex else (complex.__add__(member, 0),))
                    break
            else:
                arguments = getattr(data, "__getnewargs__", lambda _: None)(member)
                if type(arguments) is not tuple:
                    raise Refused(f"members of the type {type_name(data)!r} cannot be made again")
        attributes = dict(vars(member))
        if "_inverted_" in attributes:
            attributes["_inverted_"] = None  # It is found again when it is asked for.
        found.append((intern(str(vars(member)["_name_"])), arguments, attributes))
    return found


def _is_ctypes(metaclass: type) -> bool:
    return any([type_name(base) in ("PyCStructType", "UnionType", "PyCArrayType") for base in _mro_of(metaclass)]) and (
        "_ctypes" in MODULES
    )


# ── putting together ────────────────────────────────────────────────────────────────────────────────────────────


def make(head: dict) -> type:
    metaclass, bases = head["metaclass"], head["bases"]
    if head.get("python", list(version_info[:2])) != list(version_info[:2]):
        raise Refused(f"its kind, {type_name(metaclass)}, is another one in this version of Python")
    namespace = {"__module__": head["module"], "__qualname__": head["qualname"], **head.get("layout", {}), **head.get("early", {})}
    if "slots" in head:
        namespace["__slots__"] = head["slots"]
    new = _builtin(metaclass, "__new__")
    silenced = _silence(bases)
    try:
        kind = new(metaclass, head["name"], bases, namespace)
        if "layout" in head:
            _builtin(metaclass, "__init__")(kind, head["name"], bases, namespace)
    finally:
        for owner, original in reversed(silenced):
            _set(owner, "__init_subclass__", original)
    abc = MODULES.get("_abc")
    if abc is not None and any([base.__name__ == "ABCMeta" for base in _mro_of(metaclass)]):
        abc._abc_init(kind)
    return kind


def _builtin(metaclass: type, name: str):
    """A constructor of a metaclass, below all that is made in Python."""
    for base in _mro_of(metaclass):
        found = _dict_of(base).get(name)
        if type(found) in (BuiltinFunctionType, WrapperDescriptorType):
            return found
    return getattr(type, name)


def _silence(bases: tuple) -> list:
    """Takes `__init_subclass__` from the classes that would be told of a new one; gives what to put back."""
    silenced = []
    for base in bases:
        for owner in _mro_of(base):
            original = _dict_of(owner).get("__init_subclass__")
            if original is None or owner is object:
                continue
            try:
                _set(owner, "__init_subclass__", classmethod(_say_nothing))
            except TypeError:
                continue  # A built-in class: it is told.
            silenced.append((owner, original))
    return silenced


def _say_nothing(*_, **__) -> None:
    pass


def fill(key: str, kind: type, stage: int, content, members: dict) -> None:
    if stage == 0:
        set_all(kind, content)
    elif content[0] == "members":
        there = _dict_of(kind).get("_member_map_", {})
        for name, arguments, attributes in content[1]:
            member = there.get(name)
            if member is None:
                member = _data_type(kind).__new__(kind, *arguments)
            vars(member).update(attributes)
            members[f"e:{len(name)}:{name}{key}"] = member
    else:
        _, others, registered = content
        set_all(kind, others)
        for one in registered:
            MODULES["_abc"]._abc_register(kind, one)


def leave_only(kind: type, contents: list) -> None:
    """Deletes the attributes that stages hold, and these do not."""
    kept = set(contents[0])
    for content in contents[1:]:
        if content[0] == "others":
            kept.update(content[1])
    for name, _ in settable(kind):
        if name not in kept:
            type.__delattr__(kind, name)


def _data_type(kind: type) -> type:
    """What makes an enumeration's members, below all classes that are made in Python."""
    for base in _mro_of(kind):
        if type(_dict_of(base).get("__new__")) is BuiltinFunctionType:
            return base
    return object


def runs_code(kind: type) -> bool:
    """Whether code of the class may run when its objects are made from pickles."""
    return any([name in _dict_of(kind) for name in ("__reduce__", "__reduce_ex__", "__setstate__")])


def put_back(kind: type, attributes: dict) -> None:
    """Gives a class the attributes that `settable` has told before."""
    there = dict(settable(kind))
    set_all(kind, {name: value for name, value in attributes.items() if there.get(name, there) is not value})


def set_all(kind: type, attributes: dict) -> None:
    for name, value in attributes.items():
        try:
            _set(kind, name, value)
        except TypeError:
            setattr(kind, name, value)
