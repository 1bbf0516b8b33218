"""Encodes the values that the program's interpreter and the judge's exchange. Marshal sends plain data as it is. Types that
marshal lacks are packed as tagged tuples. An object that is not data stays where it is, and a handle to it is sent.

A message is (0, value) or (1, packed). In packed form, an atom is itself; any other value is a tuple whose first item is a tag.
"""

import itertools
import marshal
import sys

ATOMS = frozenset({int, float, str, bool, type(None), complex, bytes, type(...)})
FLAT = frozenset({list, tuple, set, frozenset})
DEPTH = 200


def is_plain(value, depth=0):
    """True if marshal restores an equal value of the same types."""
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


ITERATORS = frozenset({type(i for i in ()), type(iter([])), type(iter(())), type(iter({})), type(iter("")), type(iter(range(0))),
                       type(iter(set())), map, filter, zip, enumerate, reversed, type(reversed([])), itertools.chain,
                       itertools.islice, itertools.count, itertools.cycle, itertools.repeat})


# Attributes of a class that are not sent with it.
NO_MEMBERS = frozenset({"__dict__", "__weakref__", "__module__", "__slots__", "__annotate__", "__annotate_func__",
                        "__annotations__", "__annotations_cache__", "__dataclass_fields__", "__dataclass_params__",
                        "__static_attributes__", "__firstlineno__", "__doc__", "__classdictcell__", "__match_args__",
                        "__conditional_annotations__", "__type_params__"})


class Own:
    """Classes that the tests define, and their objects. The program gets copies of both. Its changes to these objects, and
    new objects of these classes, return with its reply.

    A class is sent once, as the code of its functions. An object is sent with its fields in each message that contains it.
    """

    def __init__(self, home=None):
        # The name of the module whose classes these are; None on the program's side.
        self.home = home
        self.classes = {}
        self.class_numbers = {}
        self.objects = {}
        self.numbers = {}
        self.told = set()
        self.namespace = None

    def knows(self, value):
        kind = type(value)
        if kind in self.class_numbers:
            return True
        if self.home is None or isinstance(value, type) or not isinstance(kind, type):
            return False
        return kind.__module__ == self.home and kind.__flags__ & 512 != 0 and not hasattr(kind, "_codeexec_handle")

    def number(self, value):
        number = self.numbers.get(id(value))
        if number is None:
            # The judge uses odd numbers and the program even ones, so that both can number new objects.
            number = (len(self.objects) + 1) * 2 + (1 if self.home else 0)
            self.objects[number] = value
            self.numbers[id(value)] = number
        return number

    def fields(self, value):
        fields = dict(vars(value)) if hasattr(value, "__dict__") else {}
        for base in type(value).__mro__:
            slots = base.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    fields[name] = getattr(value, name)
        return fields

    def pack(self, value, packer, depth):
        number = self.number(value)
        if number in self.told:
            return ("own", number)
        self.told.add(number)
        # The class is packed first: the fields may contain objects of the same class.
        kind = self.pack_class(type(value), packer)
        return ("own", number, kind, [(name, packer.pack(item, depth)) for name, item in self.fields(value).items()])

    def pack_class(self, kind, packer):
        number = self.class_numbers.get(kind)
        if number is not None:
            return (number,)
        number = self.class_numbers[kind] = len(self.class_numbers) + 1
        self.classes[number] = kind
        bases = []
        for base in kind.__bases__:
            if base.__module__ == self.home and base.__flags__ & 512:
                bases.append(self.pack_class(base, packer))
            elif base is not object:
                bases.append((base.__module__, base.__qualname__))
        members = []
        for name, item in list(vars(kind).items()):
            wrapper = type(item).__name__ if type(item) in (staticmethod, classmethod, property) else ""
            parts = [item]
            if wrapper:
                parts = [item.fget, item.fset] if wrapper == "property" else [item.__func__]
            if name not in NO_MEMBERS:
                try:
                    members.append((name, wrapper, [self.pack_member(part, kind, packer) for part in parts]))
                except (TypeError, ValueError, RecursionError):
                    # A member that cannot be packed is left out.
                    pass
        return (number, kind.__name__, bases, members)

    def pack_member(self, item, kind, packer):
        if hasattr(item, "__code__"):
            cells = []
            for cell in item.__closure__ or ():
                try:
                    is_class = cell.cell_contents is kind
                    cells.append(("class",) if is_class else ("value", packer.pack(cell.cell_contents, 0)))
                except (TypeError, ValueError):
                    cells.append(("value", None))
            return ("function", marshal.dumps(item.__code__), item.__name__, packer.pack(item.__defaults__, 0),
                    packer.pack(item.__kwdefaults__, 0), cells)
        return ("value", packer.pack(item, 1))

    def unpack(self, packed, packer):
        number = packed[1]
        value = self.objects.get(number)
        if value is None:
            if len(packed) < 4:
                raise ValueError("an object that was never told of")
            kind = self.unpack_class(packed[2], packer)
            value = kind.__new__(kind)
            self.objects[number] = value
            self.numbers[id(value)] = number
        if len(packed) == 4:
            fields = {str(name): item for name, item in packed[3]}
            for name in [name for name in self.fields(value) if name not in fields]:
                object.__delattr__(value, name)
            for name, item in fields.items():
                object.__setattr__(value, name, packer.unpack(item))
        return value

    def unpack_class(self, packed, packer):
        number = packed[0]
        if number in self.classes or self.home:
            return self.classes[number]
        _, name, bases, members = packed
        found = []
        for base in bases:
            if type(base[0]) is int:
                found.append(self.unpack_class(base, packer))
            else:
                module = __import__(base[0], fromlist=["x"])
                found.append(getattr(module, base[1]))
        # If the program defines a class of that name, the objects become objects of that class.
        kind = self.namespace.get(name)
        if not isinstance(kind, type):
            kind = type(name, tuple(found), {"__module__": "__main__"})
            for member, wrapper, parts in members:
                made = [self.unpack_member(part, kind, packer) for part in parts]
                wrap = {"staticmethod": staticmethod, "classmethod": classmethod, "property": property}.get(wrapper)
                try:
                    setattr(kind, member, wrap(*made) if wrap else made[0])
                except (TypeError, AttributeError):
                    pass
        self.classes[number] = kind
        self.class_numbers[kind] = number
        return kind

    def unpack_member(self, part, kind, packer):
        import types
        if part[0] == "value":
            return packer.unpack(part[1])
        _, code, name, defaults, keywords, cells = part
        closure = tuple(types.CellType(kind if cell[0] == "class" else packer.unpack(cell[1])) for cell in cells)
        function = types.FunctionType(loads_code(code), self.namespace, name, packer.unpack(defaults), closure)
        function.__kwdefaults__ = packer.unpack(keywords)
        return function


class Packer:
    """Packs and unpacks values. `keep` maps an object to the description of its handle, `find` a description to an object."""

    def __init__(self, keep, find, own):
        self.keep = keep
        self.find = find
        self.own = own
        # On the judge's side: the classes of named tuples, and for each named tuple of the program by its id, the tuple itself
        # and the description of the program's handle.
        self.tuple_classes = {}
        self.tuples = {}

    def encode(self, value):
        if is_plain(value):
            return (0, value)
        self.own.told.clear()
        return (1, self.pack(value, 0))

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
            if kind is numpy.ndarray and value.dtype.kind in "biufcSUmM":
                return ("ndarray", value.dtype.str, list(value.shape), value.tobytes())
            if isinstance(value, numpy.generic) and value.dtype.kind in "biufcSUmM":
                return ("npscalar", value.dtype.str, value.tobytes())
            if kind is numpy.ndarray and value.dtype.kind == "O":
                return ("objects", list(value.shape), [self.pack(v, down) for v in value.ravel().tolist()])
        if name[0].partition(".")[0] == "pandas" and name[1] in ("Series", "DataFrame", "Index", "RangeIndex", "DatetimeIndex"):
            table = self.table(value, name[1], down)
            if table is not None:
                return table
        if isinstance(value, BaseException) and getattr(sys.modules["builtins"], kind.__name__, None) is kind:
            return ("exc", kind.__name__, self.pack(value.args, down))
        if kind in ITERATORS:
            items = list(itertools.islice(value, 100001)) if self.own.home else None
            if items is not None:
                if len(items) > 100000:
                    raise TypeError("the tests pass an iterator of more than 100000 items to the program")
                return ("iter", [self.pack(v, down) for v in items])
        for base in (int, float, str, bytes):
            if isinstance(value, base) and kind.__eq__ is base.__eq__:
                return base.__new__(base, value)
        if isinstance(value, tuple) and kind.__eq__ is tuple.__eq__:
            return self.pack_tuple(value, kind, down)
        if self.own.knows(value):
            return self.own.pack(value, self, down)
        return ("o", self.keep(value))

    def pack_tuple(self, value, kind, depth):
        """Packs a named tuple: its items, the names of its class and of its fields, and the program's handle if it is the
        program's. An object of another subclass of tuple has no fields, and arrives in the judge as a plain tuple.
        """
        fields = getattr(kind, "_fields", ())
        if type(fields) is not tuple or not all(type(name) is str for name in fields):
            fields = ()
        if self.own.home:
            kept = self.tuples.get(id(value))
            handle = kept[1] if kept else None if fields else self.keep(value)
        else:
            handle = self.keep(value)
        return ("nt", [self.pack(v, depth) for v in tuple.__iter__(value)], kind.__name__, fields, handle)

    def unpack_tuple(self, packed):
        """Makes a named tuple. In the program it is of the program's own class, if there is one."""
        _, items, name, fields, handle = packed
        items = [self.unpack(v) for v in items]
        if not self.own.home:
            kind = type(self.find(handle)) if handle else self.own.namespace.get(name)
            if isinstance(kind, type) and issubclass(kind, tuple) and getattr(kind, "_fields", ()) == fields:
                return tuple.__new__(kind, items)
        if not fields or len(fields) != len(items):
            return tuple(items)
        value = tuple.__new__(self.tuple_class(name, fields), items)
        if self.own.home and handle:
            self.tuples[id(value)] = (value, handle)
        return value

    def tuple_class(self, name, fields):
        """The class of named tuples with these names; `tuple` if the names are invalid."""
        made = self.tuple_classes.get((name, fields))
        if made is None:
            import collections

            def missing(value, name):
                # Methods and properties of the program's class.
                handle = self.tuples.get(id(value), (value, None))[1]
                if handle is None or name.startswith("__"):
                    raise AttributeError(name)
                return getattr(self.find(handle), name)
            try:
                base = collections.namedtuple(name, fields)
                made = type(name, (base,), {"__slots__": (), "__module__": "__main__", "__getattr__": missing})
            except (TypeError, ValueError):
                made = tuple
            self.tuple_classes[name, fields] = made
        return made

    def table(self, value, kind, depth):
        """Packs a pandas object as its columns and labels; None if the labels are of another type, such as a MultiIndex."""
        import pandas

        def column(series):
            items = series.to_numpy()
            return self.pack(items, depth + 1)
        if kind in ("Index", "RangeIndex", "DatetimeIndex"):
            return ("index", column(value), self.pack(value.name, depth))
        index = value.index
        if type(index).__name__ not in ("Index", "RangeIndex", "DatetimeIndex"):
            return None
        labels = self.table(index, "Index", depth) if type(index) is not pandas.RangeIndex else (
            "range", index.start, index.stop, index.step)
        if kind == "Series":
            return ("series", column(value), labels, self.pack(value.name, depth), str(value.dtype))
        if type(value.columns).__name__ not in ("Index", "RangeIndex"):
            return None
        columns = [(self.pack(name, depth), column(value.iloc[:, i]), str(value.dtypes.iloc[i]))
                   for i, name in enumerate(value.columns.tolist())]
        return ("frame", columns, labels)

    def untable(self, packed):
        import pandas

        def series(items, dtype, index=None, name=None):
            made = pandas.Series(self.unpack(items), index=index, name=name)
            if str(made.dtype) != dtype:
                try:
                    made = made.astype(dtype)
                except (TypeError, ValueError):
                    pass
            return made

        def labels(packed):
            found = self.unpack(packed)
            return pandas.RangeIndex(found) if isinstance(found, range) else found
        if packed[0] == "index":
            return pandas.Index(self.unpack(packed[1]), name=self.unpack(packed[2]))
        if packed[0] == "series":
            return series(packed[1], packed[4], labels(packed[2]), self.unpack(packed[3]))
        index = labels(packed[2])
        names = [self.unpack(name) for name, _, _ in packed[1]]
        made = pandas.DataFrame({i: series(items, dtype, index) for i, (_, items, dtype) in enumerate(packed[1])}, index=index)
        made.columns = names if names else made.columns
        return made

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
            return self.unpack_tuple(packed)
        if tag == "o":
            return self.find(packed[1])
        if tag == "own":
            return self.own.unpack(packed, self)
        if tag == "iter":
            return iter([self.unpack(v) for v in packed[1]])
        if tag == "exc":
            kind = getattr(sys.modules["builtins"], str(packed[1]), None)
            is_exception = isinstance(kind, type) and issubclass(kind, BaseException)
            return (kind if is_exception else Exception)(*self.unpack(packed[2]))
        if tag in ("series", "frame", "index"):
            return self.untable(packed)
        if tag == "objects":
            import numpy
            made = numpy.empty(len(packed[2]), dtype=object)
            for i, item in enumerate(packed[2]):
                made[i] = self.unpack(item)
            return made.reshape(packed[1])
        if tag == "array":
            import array
            return array.array(packed[1], [self.unpack(v) for v in packed[2]])
        if tag == "dict_keys":
            return dict.fromkeys([self.unpack(v) for v in packed[1]]).keys()
        if tag == "dict_values":
            return dict(enumerate([self.unpack(v) for v in packed[1]])).values()
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
    # Rust has checked that `data` contains no code; CPython before 3.13 has no `allow_code`.
    return marshal.loads(data, allow_code=False) if sys.version_info >= (3, 13) else marshal.loads(data)


def loads_code(data):
    """Loads the code of a function of the tests, on the program's side."""
    return marshal.loads(data)


NO_SITE = ". Site initialization is disabled, did you forget"


def told(text):
    """Replaces CPython's message about a missing module by `this sandbox has no package NAME`."""
    at = text.find(NO_SITE)
    if at < 0:
        return text
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    name = text[:at].rpartition("No module named ")[2].strip("'\"").split(".")[0]
    return text[:at] + ": this sandbox has no package " + name + told(text[line_end:])


MUTABLE = (list, dict, set, bytearray)


def has_mutable(values):
    for v in values:
        if isinstance(v, MUTABLE) or type(v).__name__ in ("deque", "ndarray", "DataFrame", "Series"):
            return True
        # Objects of the tests' own classes.
        if type(v).__module__ == "__main__" and hasattr(v, "__dict__"):
            return True
    return False


def update(old, new):
    """Copies the content of `new` into `old`: an argument that a call in the other interpreter has changed."""
    if type(old) is not type(new) or old is new:
        return
    if type(old).__name__ == "ndarray":
        if old.shape == new.shape and old.flags.writeable:
            old[...] = new
        return
    if type(old).__name__ == "DataFrame":
        if not old.equals(new) or list(old.columns) != list(new.columns):
            old.drop(columns=list(old.columns), inplace=True)
            for name in new.columns:
                old[name] = new[name]
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
