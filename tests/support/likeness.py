"""Describes variables and all that they lead to, with a number for each object: equal descriptions, equal structures.
Functions and classes that `left_out` names are not looked into."""


def describe(names, left_out, namespace):
    import hashlib
    import types

    hash_type = type(hashlib.sha256())
    unheard = ("__dict__", "__weakref__", "__doc__", "__module__", "__static_attributes__", "__firstlineno__", "__slotnames__")
    numbers = {}
    kept = []
    closed = {id(namespace[name]): name for name in left_out if isinstance(namespace.get(name), (type, types.FunctionType))}

    def told(value):
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return repr(value)
        if isinstance(value, types.ModuleType) or (isinstance(value, type) and value.__module__ != "__main__"):
            return f"{kind.__name__} {value.__name__}"
        if id(value) in closed:
            return closed[id(value)]
        if kind is tuple:
            return f"({', '.join(map(told, value))})"
        if id(value) in numbers:
            return f"#{numbers[id(value)]}"
        numbers[id(value)] = len(numbers)
        kept.append(value)
        return f"#{numbers[id(value)]} {inside(value, kind)}"

    def inside(value, kind):
        if kind is list:
            return f"[{', '.join(map(told, value))}]"
        if kind is dict:
            return f"{{{', '.join([f'{told(key)}: {told(item)}' for key, item in value.items()])}}}"
        if kind is hash_type:
            return f"hash {value.hexdigest()}"
        if kind is types.FunctionType:
            cells = tuple([cell.cell_contents for cell in value.__closure__ or ()])
            return f"{value.__qualname__}{told((cells, value.__defaults__, tuple(vars(value).items())))}"
        if isinstance(value, type):
            attributes = tuple([one for one in sorted(vars(value).items()) if one[0] not in unheard])
            return f"class {value.__qualname__}{told((value.__bases__, attributes))}"
        return f"{told(kind)}{told(tuple(vars(value).items()))}"

    return [f"{name} = {told(namespace[name]) if name in namespace else 'not there'}" for name in sorted(names)]
