"""Values between the program's interpreter and the judge's: plain data goes as it is, by marshal; what marshal does not
know goes as a packed structure of tuples; what is not data goes as a handle to the object where it lives.

A message is (0, value) or (1, packed). Packed: an atom is itself, everything else a tuple whose first item is a tag.
"""

import marshal
import sys

ATOMS = frozenset({int, float, str, bool, type(None), complex, bytes, type(...)})
FLAT = frozenset({list, tuple, set, frozenset})
DEPTH = 200


def is_plain(value, depth=0):
    """True when marshal gives back an equal value of the same types."""
    kind = type(value)
    if kind in ATOMS:
        return True
    if depth > DEPTH:
        return False
    if kind in FLAT:
        if ATOMS.issuperset(map(type, value)):
            return True
        return all(is_plain(item, depth + 1) for item in value if type(item) not in ATOMS)
    if kind is dict:
        if ATOMS.issuperset(map(type, value)) and ATOMS.issuperset(map(type, value.values())):
            return True
        return all(is_plain(k, depth + 1) and is_plain(v, depth + 1) for k, v in value.items())
    return False


class Packer:
    """Packs and unpacks; `keep` turns an object into a handle's description, `find` a description into an object."""

    def __init__(self, keep, find):
        self.keep = keep
        self.find = find

    def encode(self, value):
        return (0, value) if is_plain(value) else (1, self.pack(value, 0))

    def decode(self, message):
        kind, value = message
        return value if kind == 0 else self.unpack(value)

    def pack(self, value, depth):
        kind = type(value)
        if kind in ATOMS:
            return value
        if depth > DEPTH:
            return ("o", self.keep(value))
        down = depth + 1
        if kind is list:
            return ("l", [self.pack(v, down) for v in value])
        if kind is tuple:
            return ("t", [self.pack(v, down) for v in value])
        if kind is dict:
            return ("d", [(self.pack(k, down), self.pack(v, down)) for k, v in value.items()])
        if kind is set:
            return ("s", [self.pack(v, down) for v in value])
        if kind is frozenset:
            return ("f", [self.pack(v, down) for v in value])
        if kind is range:
            return ("range", value.start, value.stop, value.step)
        if kind is slice:
            return ("slice", self.pack((value.start, value.stop, value.step), down))
        if kind is bytearray:
            return ("bytearray", bytes(value))
        name = (kind.__module__, kind.__qualname__)
        if name == ("collections", "deque"):
            return ("deque", [self.pack(v, down) for v in value], value.maxlen)
        if name == ("collections", "Counter"):
            return ("counter", [(self.pack(k, down), self.pack(v, down)) for k, v in value.items()])
        if name == ("collections", "OrderedDict"):
            return ("odict", [(self.pack(k, down), self.pack(v, down)) for k, v in value.items()])
        if name == ("collections", "defaultdict"):
            return ("ddict", [(self.pack(k, down), self.pack(v, down)) for k, v in value.items()])
        if name == ("decimal", "Decimal"):
            return ("decimal", str(value))
        if name == ("fractions", "Fraction"):
            return ("fraction", value.numerator, value.denominator)
        if name[0] == "datetime" and name[1] in ("date", "time", "datetime", "timedelta"):
            return ("pickle", self.pack(value.__reduce__()[1], down), name[1])
        if name[0] == "array" and name[1] == "array":
            return ("array", value.typecode, [self.pack(v, down) for v in value])
        if name[0] == "builtins" and name[1] in ("dict_keys", "dict_values", "dict_items"):
            return (name[1], [self.pack(v, down) for v in value])
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            if kind is numpy.ndarray and value.dtype.kind in "biufcSU":
                return ("ndarray", value.dtype.str, list(value.shape), value.tobytes())
            if isinstance(value, numpy.generic) and value.dtype.kind in "biufcSU":
                return ("npscalar", value.dtype.str, value.tobytes())
        for base in (int, float, str, bytes):
            if isinstance(value, base) and kind.__eq__ is base.__eq__:
                return base.__new__(base, value)
        # A named tuple equals the tuple of its items, and keeps its attributes only as an object.
        if isinstance(value, tuple) and kind.__eq__ is tuple.__eq__:
            return ("nt", [self.pack(v, down) for v in tuple.__iter__(value)], self.keep(value))
        return ("o", self.keep(value))

    def unpack(self, packed):
        if type(packed) is not tuple:
            return packed
        tag = packed[0]
        if tag == "l":
            return [self.unpack(v) for v in packed[1]]
        if tag == "t":
            return tuple([self.unpack(v) for v in packed[1]])
        if tag == "d":
            return {self.unpack(k): self.unpack(v) for k, v in packed[1]}
        if tag == "s":
            return {self.unpack(v) for v in packed[1]}
        if tag == "f":
            return frozenset([self.unpack(v) for v in packed[1]])
        if tag == "range":
            return range(packed[1], packed[2], packed[3])
        if tag == "slice":
            return slice(*self.unpack(packed[1]))
        if tag == "bytearray":
            return bytearray(packed[1])
        if tag == "nt":
            return tuple([self.unpack(v) for v in packed[1]])
        if tag == "o":
            return self.find(packed[1])
        if tag == "array":
            import array
            return array.array(packed[1], [self.unpack(v) for v in packed[2]])
        if tag == "dict_keys":
            return dict.fromkeys([self.unpack(v) for v in packed[1]]).keys()
        if tag == "dict_values":
            return list(self.unpack(v) for v in packed[1])
        if tag == "dict_items":
            return dict([self.unpack(v) for v in packed[1]]).items()
        if tag in ("ndarray", "npscalar"):
            import numpy
            if tag == "npscalar":
                return numpy.frombuffer(packed[2], dtype=packed[1])[0]
            return numpy.frombuffer(packed[3], dtype=packed[1]).reshape(packed[2]).copy()
        if tag == "decimal":
            import decimal
            return decimal.Decimal(packed[1])
        if tag == "fraction":
            import fractions
            return fractions.Fraction(packed[1], packed[2])
        if tag == "pickle":
            import datetime
            return getattr(datetime, packed[2])(*self.unpack(packed[1]))
        import collections
        if tag == "deque":
            return collections.deque([self.unpack(v) for v in packed[1]], packed[2])
        pairs = [(self.unpack(k), self.unpack(v)) for k, v in packed[1]]
        if tag == "counter":
            return collections.Counter(dict(pairs))
        if tag == "odict":
            return collections.OrderedDict(pairs)
        if tag == "ddict":
            return dict(pairs)
        raise ValueError("an unknown tag")


def dumps(value):
    return marshal.dumps(value, 4)


def loads(data):
    # Rust has checked that there is no code in it; CPython before 3.13 cannot be told.
    return marshal.loads(data, allow_code=False) if sys.version_info >= (3, 13) else marshal.loads(data)


MUTABLE = (list, dict, set, bytearray)


def has_mutable(values):
    return any(isinstance(v, MUTABLE) or type(v).__name__ == "deque" for v in values)


def update(old, new):
    """Gives `old` the content of `new`, as a call in the same interpreter would have done."""
    if type(old) is not type(new):
        return
    if isinstance(old, (list, bytearray)):
        if len(old) == len(new):
            for i, item in enumerate(new):
                if isinstance(old[i], MUTABLE) and type(old[i]) is type(item):
                    update(old[i], item)
                else:
                    old[i] = item
        else:
            old[:] = new
    elif isinstance(old, (dict, set)):
        if old != new or list(old) != list(new):
            old.clear()
            old.update(new)
    elif type(old).__name__ == "deque":
        old.clear()
        old.extend(new)
