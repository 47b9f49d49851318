"""What a cell reads and binds among the session's variables, by its syntax tree, in the order in which it runs.

What functions mention counts as read where the functions are named. Attributes and items are their variable's. Where
the order cannot be told (branches, loops, calls), a name counts as read rather than as bound.
"""

from __future__ import annotations

from .private import builtins as __builtins__

import ast
import re
from ast import (
    AST,
    AugAssign,
    Call,
    ClassDef,
    Constant,
    GeneratorExp,
    Import,
    ImportFrom,
    Lambda,
    Load,
    Name,
    NamedExpr,
)

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, GeneratorExp)
_LOOPS = (ast.For, ast.AsyncFor)
_WITH = (ast.With, ast.AsyncWith)
_TRY = (ast.Try, *([ast.TryStar] if hasattr(ast, "TryStar") else []))
_MATCH = getattr(ast, "Match", ())
_WORDS = re.compile(r"[^\W\d]\w*")

_OPAQUE = frozenset(("exec", "eval", "globals", "locals", "vars", "__import__", "setattr", "delattr", "execfile"))
"""Reach variables whose names are not in the text, when they are called."""
_OPAQUE_ATTRIBUTES = frozenset(
    ("__globals__", "__dict__", "_getframe", "f_globals", "f_locals", "__main__", "run_cell")
)
_STATEFUL = frozenset(
    "iter enumerate zip map filter reversed cycle count repeat chain islice tee default_rng RandomState Random Generator "
    "SystemRandom PRNGKey open reader DictReader TemporaryFile connect cursor Queue SimpleQueue Lock Event local".split()
)
"""Make objects that change when they are used, out of sight of who compares values."""
_CONSUMERS = frozenset(
    "sum list tuple set frozenset dict any all max min sorted join Counter array extend update".split()
)
"""Take a generator and use it up at once."""
_BY_ADDRESS = frozenset(("range", "slice", "type", "partial", "property", "staticmethod", "classmethod"))
_PROCESS = frozenset(("chdir", "fchdir", "putenv", "unsetenv", "umask", "setlocale", "load_dotenv"))
_ENVIRONMENT = frozenset(("update", "setdefault", "pop", "popitem", "clear", "__setitem__", "__delitem__"))


class Body:
    """A function or class that a cell defines: what it mentions, and whether what it returns may hold code."""

    __slots__ = ("mentions", "stores", "is_rich", "is_generator")

    def __init__(self, mentions: set, stores: set, is_rich: bool, is_generator: bool) -> None:
        self.mentions = frozenset(mentions)
        self.stores = frozenset(stores)
        self.is_rich = is_rich
        self.is_generator = is_generator


class Reading:
    """One cell. `bodies_of(name)` gives the bodies that a name may run, as it was before the cell."""

    def __init__(self, tree: ast.Module, bodies_of, is_module) -> None:
        self.reads: set = set()
        """Names whose values from before the cell it may use."""
        self.rebinds: set = set()
        """Names that it binds as a whole, whatever happens, without a use of the earlier value."""
        self.stores: set = set()
        """Names that it may bind."""
        self.mutates: set = set()
        """Names whose attributes or items it changes, or whose methods it calls."""
        self.imports: dict = {}
        """Names that it binds by an import, in whatever place, with the statement's text."""
        self.additions: set = set()
        """Those of them that only add to packages, which may be there: `import package.module`."""
        self.stars: list = []
        self.defines: dict = {}
        """Bodies by the names of functions and classes that it defines."""
        self.stateful: set = set()
        self.renewed: set = set()
        """Names that it binds to functions, classes and other things that are compared by their address alone, which a
        new one may have from the old."""
        self.module_changes: set = set()
        """Modules, by their names, that it tells to do something: `random.seed(0)`, `os.environ[…] = …`."""
        self.lambdas: set = set()
        """Bodies of its lambdas, which values that it makes may hold."""
        self.loose: set = set()
        """Names that it does more with than to call them."""
        self.is_opaque = False
        self.changes_process = False
        self._bodies_of = bodies_of
        self._is_module = is_module
        self._seen: set = set()
        """Names whose functions have been looked into."""
        self._used: set = set()
        """Names that were read before, or where, they were bound."""
        bound: set = set()
        self._statements(tree.body, bound)
        self.rebinds = {name for name in bound if name not in self._used}

    def held(self) -> set:
        """Bodies that the values which it makes may hold: instances of classes, closures, generators, functions that
        were handed on."""
        found = set(self.lambdas)
        for name in self._seen:
            for body in [*self.defines.get(name, ()), *self._bodies_of(name)]:
                if body.is_rich or name in self.loose:
                    found.add(body)
        return found

    # ── statements ──────────────────────────────────────────────────────────────────────────────────────────

    def _statements(self, body: list, bound: set) -> None:
        for statement in body:
            self._statement(statement, bound)

    def _statement(self, node: AST, bound: set) -> None:
        kind = type(node)
        if kind in _FUNCTIONS:
            self._expressions([*node.decorator_list, *_defaults(node.args), node.returns], bound)
            self._define(node.name, _body(node), bound, bool(node.decorator_list))
        elif kind is ClassDef:
            self._class(node, bound)
        elif kind in (Import, ImportFrom):
            self._import(node, bound)
        elif kind is ast.If:
            self._expressions([node.test], bound)
            first, second = set(bound), set(bound)
            self._statements(node.body, first)
            self._statements(node.orelse, second)
            bound |= first & second
        elif kind in _LOOPS:
            self._expressions([node.iter], bound)
            inside = set(bound)
            self._target(node.target, inside)
            self._statements(node.body, inside)
            self._statements(node.orelse, set(bound))
        elif kind is ast.While:
            self._expressions([node.test], bound)
            self._statements(node.body, set(bound))
            self._statements(node.orelse, set(bound))
        elif kind in _WITH:
            for item in node.items:
                self._expressions([item.context_expr], bound)
                if item.optional_vars is not None:
                    self._target(item.optional_vars, bound)
            self._statements(node.body, bound)
        elif kind in _TRY and _only_imports(node):
            self._imports(node, bound)
        elif kind in _TRY:
            self._statements(node.body, set(bound))
            for handler in node.handlers:
                inside = set(bound)
                self._expressions([handler.type], inside)
                if handler.name:
                    self._store(handler.name, inside)
                self._statements(handler.body, inside)
            self._statements(node.orelse, set(bound))
            self._statements(node.finalbody, bound)
        elif _MATCH and kind is _MATCH:
            self._expressions([node.subject], bound)
            for case in node.cases:
                inside = set(bound)
                for part in ast.walk(case.pattern):
                    for name in (getattr(part, "name", None), getattr(part, "rest", None)):
                        if type(name) is str:
                            self._store(name, inside)
                self._expressions([case.pattern, case.guard], inside)
                self._statements(case.body, inside)
        elif kind is ast.Global:
            pass
        else:
            self._simple(node, bound)

    def _simple(self, node: AST, bound: set) -> None:
        """Assignments, deletions, expressions and the like: what they read, then what they bind."""
        self._expressions([node], bound)
        if type(node) is AugAssign:
            if type(node.target) is Name:
                self._load(node.target.id, bound)
            targets = [node.target]
        elif type(node) is ast.Assign:
            targets = node.targets
        elif type(node) is ast.AnnAssign:
            targets = [node.target] if node.value is not None else []
        elif type(node) is ast.Delete:
            targets = node.targets
            for target in targets:
                if type(target) is Name:
                    self._load(target.id, bound)
        else:
            if type(node) is ast.Expr:
                self._told(node.value)
            return
        value = getattr(node, "value", None)
        makes = value is not None and self._makes_state(value)
        for target in targets:
            self._target(target, bound)
            names = [part.id for part in ast.walk(target) if type(part) is Name]
            if makes:
                self.stateful.update(names)
            if value is not None and _is_by_address(value):
                self.renewed.update(names)

    def _class(self, node: ClassDef, bound: set) -> None:
        self._expressions([*node.decorator_list, *node.bases, *[word.value for word in node.keywords]], bound)
        parts = [_body(part) for part in node.body if type(part) in _FUNCTIONS]
        inside = set(bound)
        # Names of a class body are its own; a name that both have counts as read.
        outer = self.stores, self.imports, self.additions, self.defines, self.mutates, self.renewed, self.stateful
        self.stores, self.imports, self.additions, self.defines, self.mutates, self.renewed, self.stateful = (
            set(),
            {},
            set(),
            {},
            set(),
            set(),
            set(),
        )
        self._statements(node.body, inside)
        self.stores, self.imports, self.additions, self.defines, self.mutates, self.renewed, self.stateful = outer
        mentions = set().union(*[part.mentions for part in parts]) if parts else set()
        mentions |= _free(node.body)[0]
        stores = set().union(*[part.stores for part in parts]) if parts else set()
        self._define(node.name, Body(mentions, stores, True, False), bound, True)

    def _define(self, name: str, body: Body, bound: set, runs: bool) -> None:
        if runs:
            self._enter(body, bound)
        self.defines.setdefault(name, set()).add(body)
        self.renewed.add(name)
        self._seen.discard(name)
        self._store(name, bound)

    def _import(self, node: AST, bound: set) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(ast.unparse(node))
                continue
            name = _imported(alias)
            statement = type(node)(**{**vars(node), "names": [alias]})
            is_addition = type(node) is Import and alias.asname is None and "." in alias.name
            self._bind_import(name, ast.unparse(statement), is_addition, bound)

    def _imports(self, node: AST, bound: set) -> None:
        """Imports in place of each other: the whole statement is each one's."""
        blocks = [node.body + node.orelse, *[handler.body for handler in node.handlers]]
        names = [{_imported(alias) for part in block for alias in getattr(part, "names", ())} for block in blocks]
        for name in sorted(set().union(*names)):
            is_sure = all([name in block for block in names])
            self._bind_import(name, ast.unparse(node), False, bound if is_sure else set())

    def _bind_import(self, name: str, statement: str, is_addition: bool, bound: set) -> None:
        known = self.imports.get(name)
        self.imports[name] = statement if known in (None, statement) else f"{known}\n{statement}"
        if is_addition:
            if known is None:
                self.additions.add(name)
            return
        bound.add(name)
        self.additions.discard(name)
        if known not in (None, statement):
            self.stores.add(name)  # Which of them it is depends on how the cell went.

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────

    def _target(self, node: AST, bound: set) -> None:
        """What is assigned to or deleted."""
        waiting = [node]
        while waiting:
            part = waiting.pop()
            kind = type(part)
            if kind is Name:
                self._store(part.id, bound)
            elif kind in (ast.Tuple, ast.List):
                waiting.extend(part.elts)
            elif kind is ast.Starred:
                waiting.append(part.value)
            else:
                self._expressions([part], bound)
                root, path = _root(part)
                if root is not None:
                    self._mutate(root)
                    self.changes_process |= "environ" in path or root == "environ"

    def _store(self, name: str, bound: set) -> None:
        self.stores.add(name)
        bound.add(name)

    def _mutate(self, name: str) -> None:
        self.mutates.add(name)
        if self._is_module(name) or name in self.imports:
            self.module_changes.add(name)

    def _told(self, value: AST) -> None:
        """A call whose value nobody takes."""
        while type(value) is ast.Await:
            value = value.value
        if type(value) is Call:
            root, path = _root(value.func)
            if root is not None and path and (self._is_module(root) or root in self.imports):
                self.module_changes.add(root)

    def _load(self, name: str, bound: set) -> None:
        """A name is read, and with it what the functions mention that it may run."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name not in bound:
                self.reads.add(name)
                self._used.add(name)
            if name in self._seen:
                continue
            self._seen.add(name)
            for body in [*self.defines.get(name, ()), *self._bodies_of(name)]:
                self.stores |= body.stores
                self._used |= body.stores
                waiting.extend(body.mentions)
                if not _OPAQUE.isdisjoint(body.mentions):
                    self.is_opaque = True

    def _enter(self, body: Body, bound: set) -> None:
        for name in body.mentions:
            self._load(name, bound)

    def _expressions(self, nodes: list, bound: set) -> None:
        nodes = [node for node in nodes if node is not None]
        loads, stores, bodies, walrus = _free(nodes)
        for name in loads:
            self._load(name, bound)
        for name in walrus:
            self._store(name, set())
            self._used.add(name)
        self.lambdas |= bodies
        for node in nodes:
            self._look(node, bound)

    def _look(self, node: AST, bound: set) -> None:
        """What calls and attributes tell beyond names."""
        called = set()
        for part in ast.walk(node):
            # A call comes before what is called.
            if type(part) is Call:
                called.add(part.func)
                if _called_name(part) in _CONSUMERS:
                    called.update(part.args)
            elif type(part) is GeneratorExp and part not in called:
                mentions = {inner.id for inner in ast.walk(part) if type(inner) is Name}
                self.lambdas.add(Body(mentions, set(), True, True))
            elif type(part) is Name and part not in called:
                self.loose.add(part.id)
            if type(part) is ast.Attribute and part.attr in _OPAQUE_ATTRIBUTES:
                self.is_opaque = True
            if type(part) in (Name, ast.Attribute):
                word = part.id if type(part) is Name else part.attr
                self.changes_process |= word in _PROCESS
            if type(part) is not Call:
                continue
            function = part.func
            if type(function) is Name and function.id in _OPAQUE and function.id not in bound:
                self.is_opaque |= not (function.id in ("setattr", "delattr", "vars") and _is_plain(part))
                if part.args and type(part.args[0]) is Name:
                    self._mutate(part.args[0].id)
            elif type(function) is ast.Attribute:
                root, path = _root(function)
                if root is not None:
                    self.changes_process |= ("environ" in path or root == "environ") and function.attr in _ENVIRONMENT
                    self.mutates.add(root)
                elif type(function.value) is Constant and function.attr in ("magic", "system", "lines"):
                    self._magic(part, bound)

    def _magic(self, call: Call, bound: set) -> None:
        """A magic's arguments are text, in which names may stand."""
        texts = [part.value for part in call.args if type(part) is Constant and type(part.value) is str]
        self.changes_process |= texts[1:2] in (["cd"], ["env"], ["set_env"])
        self.is_opaque |= texts[1:2] == ["run"]
        for text in texts:
            for word in _WORDS.findall(text):
                self._load(word, bound)

    def _makes_state(self, value: AST) -> bool:
        """Whether a value is used up, or changes unseen, when it is used."""
        for part in ast.walk(value):
            if type(part) is GeneratorExp and part is value:
                return True
            if type(part) is Call:
                function = part.func
                name = _called_name(part)
                if name in _STATEFUL and part is value:
                    return True
                if name in _STATEFUL and name not in ("enumerate", "zip", "map", "filter", "reversed", "count", "open"):
                    return True
                if type(function) is Name:
                    bodies = [*self.defines.get(name, ()), *self._bodies_of(name)]
                    if any([body.is_generator for body in bodies]):
                        return True
        return False


def _imported(alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _only_imports(node: AST) -> bool:
    """Whether a `try` has nothing in it but imports of one name and the other."""
    parts = [*node.body, *node.orelse, *node.finalbody, *[part for handler in node.handlers for part in handler.body]]
    kinds = [type(part) for part in parts if type(part) is not ast.Pass]
    stars = [alias for part in parts for alias in getattr(part, "names", ()) if alias.name == "*"]
    return set(kinds) <= {Import, ImportFrom} and not stars


def _called_name(call: Call):
    function = call.func
    return function.id if type(function) is Name else getattr(function, "attr", None)


def _is_by_address(value: AST) -> bool:
    kinds = (Lambda, ast.Attribute)
    return any([type(part) in kinds or (type(part) is Name and part.id in _BY_ADDRESS) for part in ast.walk(value)])


def _is_plain(call: Call) -> bool:
    """Whether it is a call about one named object."""
    return bool(call.args) and type(call.args[0]) is Name


def _root(node: AST) -> tuple:
    """The variable that an attribute or item belongs to, or None, and the attributes on the way."""
    path: list = []
    while True:
        kind = type(node)
        if kind is ast.Attribute:
            path.append(node.attr)
            node = node.value
        elif kind in (ast.Subscript, ast.Starred):
            node = node.value
        elif kind is Call:
            node = node.func
        else:
            return (node.id if kind is Name else None), path


def _defaults(arguments: ast.arguments) -> list:
    return [*arguments.defaults, *arguments.kw_defaults]


def _body(node: AST) -> Body:
    """What a function mentions outside its own variables, and its inner functions outside theirs."""
    mentions, stores, _, _ = _free([node], inside=True)
    own = node.body if type(node.body) is list else [node.body]
    parts = [part for statement in own for part in ast.walk(statement)]
    is_generator = any([type(part) in (ast.Yield, ast.YieldFrom) for part in parts])
    holds = (*_FUNCTIONS, ClassDef, Lambda, GeneratorExp)
    is_rich = is_generator or any([type(part) in holds for part in parts])
    return Body(mentions, stores, is_rich, is_generator)


def _free(nodes: list, inside: bool = False) -> tuple:
    """Names that these nodes load from outside, those that they declare global and bind, bodies of lambdas, and names
    that `:=` binds. With `inside` the one node is a function, whose own scope is looked at."""
    loads: set = set()
    stores: set = set()
    bodies: set = set()
    walrus: set = set()
    # Each scope: its nodes, the names that are its own or an outer function's.
    scopes = [_scope(nodes[0], frozenset())] if inside else [(nodes, frozenset(), frozenset())]
    while scopes:
        waiting, own, declared = scopes.pop()
        waiting = list(waiting)
        while waiting:
            node = waiting.pop()
            kind = type(node)
            if kind is Name:
                if type(node.ctx) is Load:
                    if node.id not in own:
                        loads.add(node.id)
                elif node.id in declared:
                    stores.add(node.id)
                    loads.add(node.id)
            elif kind in _FUNCTIONS or kind is Lambda:
                if kind is Lambda:
                    waiting.extend([part for part in _defaults(node.args) if part is not None])
                    if not inside:
                        bodies.add(_body(node))
                else:
                    waiting.extend([*node.decorator_list, *[part for part in _defaults(node.args) if part is not None]])
                    stores.update({node.name} & declared)
                scopes.append(_scope(node, own))
            elif kind in _COMPREHENSIONS:
                first = node.generators[0].iter
                waiting.append(first)
                targets = {part.id for loop in node.generators for part in ast.walk(loop.target) if type(part) is Name}
                walrus.update([part.target.id for part in ast.walk(node) if type(part) is NamedExpr])
                parts = [part for part in ast.iter_child_nodes(node) if type(part) is not ast.comprehension]
                for loop in node.generators:
                    parts += [part for part in (loop.iter, *loop.ifs, loop.target) if part is not first]
                scopes.append((parts, own | targets, declared - targets))
            else:
                if kind is NamedExpr:
                    walrus.add(node.target.id)
                elif kind in (Import, ImportFrom):
                    names = set(map(_imported, node.names))
                    stores.update(names & declared)
                elif kind is ClassDef:
                    stores.update({node.name} & declared)
                waiting.extend(ast.iter_child_nodes(node))
    return loads, stores, bodies, walrus


def _scope(node: AST, outer: frozenset) -> tuple:
    """The parts of a function, names that are not the session's, and those that it declares global."""
    arguments = node.args
    own = {part.arg for part in (*getattr(arguments, "posonlyargs", []), *arguments.args, *arguments.kwonlyargs)}
    own.update([part.arg for part in (arguments.vararg, arguments.kwarg) if part is not None])
    body = node.body if type(node.body) is list else [node.body]
    declared: set = set()
    waiting: list = list(body)
    while waiting:
        part = waiting.pop()
        kind = type(part)
        if kind is Name and type(part.ctx) is not Load:
            own.add(part.id)
        elif kind is ast.Global:
            declared.update(part.names)
        elif kind in (Import, ImportFrom):
            own.update(map(_imported, part.names))
        elif kind in _FUNCTIONS or kind is ClassDef:
            own.add(part.name)
            continue
        elif kind is Lambda or kind in _COMPREHENSIONS:
            own.update([inner.target.id for inner in ast.walk(part) if type(inner) is NamedExpr])
            continue
        for field in ("name", "rest"):
            if kind is not ast.alias and type(getattr(part, field, None)) is str:
                own.add(getattr(part, field))
        waiting.extend(ast.iter_child_nodes(part))
    return body, frozenset((own | outer) - declared), frozenset(declared)
