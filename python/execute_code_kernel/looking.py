"""Whether a cell only looked at values: nothing that it says can have changed any, of whatever they are.

Only values of Python's own plain types answer without doing anything: the `in` of a generator moves it on, an attribute may be
a property, a `repr` may count. What this cannot be sure of counts as doing something.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import ast
import builtins
from types import BuiltinFunctionType, FunctionType, ModuleType

_PARTS = 1_000
"""So many of a value's are looked at."""
_ACTS, _SHOWS, _PLAIN = 0, 1, 2
"""What may do something when it is used; what does nothing when it is shown; what does nothing at all."""
_SCALARS = frozenset(map(id, (int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented), range, slice)))
_HOLDING = (tuple, list, set, frozenset)
_SHOWN = (FunctionType, BuiltinFunctionType, ModuleType, type)
"""Types by identity: what has exactly such a type is shown by Python itself."""
_UNCHANGING = (str, bytes, int, float, complex, tuple, frozenset, range)
_METHODS = {
    list: {"copy", "count", "index"},
    dict: {"copy", "get", "items", "keys", "values"},
    set: {"copy", "difference", "intersection", "isdisjoint", "issubset", "issuperset", "symmetric_difference", "union"},
}
"""Those that leave it as it is."""
_NAMES = (
    "abs all any ascii bin bool bytes chr complex dict divmod float format frozenset hash hex int len list max min oct ord"
    " pow print range repr reversed round set sorted str sum tuple"
)
_FUNCTIONS = {id(function): function for function in [vars(builtins)[name] for name in _NAMES.split()]}
_OF_ANYTHING = {id(function): function for function in (callable, id, type)}
_KEYWORDS = {id(print): {"sep", "end", "flush"}, id(sorted): {"reverse"}}
_NOTHING = object()
_OPERATIONS = (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Subscript, ast.Slice, ast.JoinedStr, ast.FormattedValue)
_DISPLAYS = (ast.Tuple, ast.List, ast.Set, ast.Dict)


def only_looks(tree, namespace: dict) -> bool:
    """Of the values that the names have now: a cell that only looks has not changed them. Raises RecursionError."""
    for statement in () if tree is None else tree.body:
        kind = type(statement)
        if kind is ast.Expr:
            if _look(statement.value, namespace) == _ACTS:
                return False
        elif kind is not ast.Pass:
            return False
    return True


def _look(node, namespace: dict) -> int:
    kind = type(node)
    if kind is ast.Constant:
        return _PLAIN
    if kind is ast.Name:
        return _kind_of(_value(node.id, namespace))
    if kind in _DISPLAYS:
        return min([_look(part, namespace) for part in _operands(node)], default=_PLAIN)
    if kind in _OPERATIONS:
        wanted = _SHOWS if kind is ast.FormattedValue or kind is ast.JoinedStr else _PLAIN
        return _PLAIN if all([_look(part, namespace) >= wanted for part in _operands(node)]) else _ACTS
    if kind is ast.Attribute:
        return _look_at_attribute(node, namespace)
    return _look_at_call(node, namespace) if kind is ast.Call else _ACTS


def _operands(node) -> list:
    found = []
    for field in node._fields:
        value = getattr(node, field, None)
        found += [part for part in (value if type(value) is list else (value,)) if _is_operand(part)]
    return found


def _is_operand(part) -> bool:
    return isinstance(part, ast.AST) and not isinstance(part, (ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context))


def _value(name: str, namespace: dict):
    """`_NOTHING` for what there is not, which is an error of the cell, and does nothing either."""
    if name in namespace:
        return namespace[name]
    found = namespace.get("__builtins__")
    known = vars(found) if type(found) is ModuleType else found if type(found) is dict else {}
    return known.get(name, _NOTHING)


def _kind_of(value) -> int:
    if _is_plain(value):
        return _PLAIN
    return _SHOWS if type(value) in _SHOWN_TYPES else _ACTS


class _Types:
    """Types by identity: to look one up in a set would ask its metaclass for a hash."""

    def __init__(self, *types) -> None:
        self._ids = frozenset(map(id, types))

    def __contains__(self, kind) -> bool:
        return id(kind) in self._ids


_SHOWN_TYPES = _Types(*_SHOWN)
_HOLDING_TYPES = _Types(*_HOLDING)
_UNCHANGING_TYPES = _Types(*_UNCHANGING)


def _is_plain(value) -> bool:
    waiting, left = [value], _PARTS
    while waiting:
        one = waiting.pop()
        kind = type(one)
        left -= 1
        if one is _NOTHING or id(kind) in _SCALARS:
            continue
        if kind is dict:
            size = 2 * len(one)
        elif kind in _HOLDING_TYPES:
            size = len(one)
        else:
            return False
        if size > left - len(waiting):
            return False
        waiting += [*one, *one.values()] if kind is dict else one
    return True


def _look_at_attribute(node, namespace: dict) -> int:
    """Of a plain value, whose methods show themselves; of a module, which may have a function for what it lacks."""
    if type(node.value) is ast.Name:
        value = _value(node.value.id, namespace)
        if type(value) is ModuleType:
            attributes = vars(value)
            return _ACTS if "__getattr__" in attributes else _kind_of(attributes.get(node.attr, _NOTHING))
    return _SHOWS if _look(node.value, namespace) == _PLAIN else _ACTS


def _look_at_call(node, namespace: dict) -> int:
    function, arguments = node.func, node.args
    if type(function) is ast.Attribute:
        if node.keywords or not _leaves_as_it_is(function, namespace):
            return _ACTS
        return _PLAIN if _are_plain(arguments, namespace) else _ACTS
    called = _value(function.id, namespace) if type(function) is ast.Name else None
    if _OF_ANYTHING.get(id(called)) is called and called is not None:
        one = len(arguments) == 1 and not node.keywords and type(arguments[0]) is ast.Name
        return _SHOWS if one else _ACTS
    if called is None or _FUNCTIONS.get(id(called)) is not called:
        return _ACTS
    allowed = _KEYWORDS.get(id(called), ())
    if any([keyword.arg not in allowed for keyword in node.keywords]):
        return _ACTS
    return _PLAIN if _are_plain([*arguments, *[one.value for one in node.keywords]], namespace) else _ACTS


def _are_plain(nodes: list, namespace: dict) -> bool:
    return all([_look(one, namespace) == _PLAIN for one in nodes])


def _leaves_as_it_is(method, namespace: dict) -> bool:
    """Whether it is a method of a plain value that does not change that. A plain value of unknown type may be any."""
    whose = method.value
    if type(whose) is ast.Constant:
        return True
    if type(whose) is not ast.Name:
        return False
    value = _value(whose.id, namespace)
    if not _is_plain(value):
        return False
    return type(value) in _UNCHANGING_TYPES or method.attr in _METHODS.get(type(value), ())
