"""The judge's access to the program. The judge calls the program's functions, and results arrive as data. An object that is not
data stays in the program's interpreter, and the judge uses it by a handle.
"""

import builtins
import itertools
import marshal
import sys
import types

MOST_ITEMS = 100000  # maximum number of items read from an iterator that is the `side_effect` of a mock
# Attributes that libraries look for to detect a protocol; a handle implements none of these protocols.
PROBES = frozenset({"__array__", "__array_interface__", "__array_struct__", "__array_ufunc__", "__array_function__",
                    "__array_priority__", "__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__",
                    "__setstate__", "__getnewargs__", "__getnewargs_ex__", "__class_getitem__", "__mro_entries__",
                    "__dataframe__", "__arrow_c_stream__", "__cuda_array_interface__", "__dlpack__", "__index__"})


class ProgramEnded(BaseException):
    """The program's interpreter has ended: it exited, crashed or reached a limit."""


class Remote:
    """A handle of an object in the program's interpreter."""

    __slots__ = ("_link", "_description", "_mixed", "__weakref__")
    _codeexec_handle = True

    def __init__(self, link, description, mixed=False):
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_description", description)
        # True for the result of an operation with plain data of the tests. No further operation may turn such a result
        # into plain data: otherwise an object that agrees with everything would pass as a number.
        object.__setattr__(self, "_mixed", mixed)

    def __call__(self, *args, **kwargs):
        return self._link.call(self._description, args, kwargs)

    def __getattr__(self, name):
        if name in PROBES:
            raise AttributeError(name)
        return self._link.operate(self._description, "getattr", name)

    def __setattr__(self, name, value):
        self._link.operate(self._description, "setattr", name, value)

    def __delattr__(self, name):
        self._link.operate(self._description, "delattr", name)

    def __eq__(self, other):
        if isinstance(other, type) and issubclass(other, Remote):
            return self._description[1] == "c" and self._description[2] == other.__name__
        if not isinstance(other, Remote):
            return False  # an object of the program never equals plain data, whatever its __eq__ returns
        if self._description[0] == other._description[0] and self._description[0]:
            return True
        return self._link.operate(self._description, "eq", other) is True

    def __ne__(self, other):
        if isinstance(other, Remote):
            if self._description[0] == other._description[0] and self._description[0]:
                return False
            return self._link.operate(self._description, "ne", other) is True
        return not self == other

    def __hash__(self):
        return self._link.operate(self._description, "hash")

    def __repr__(self):
        if self._link.is_quiet:
            return "<" + str(self._description[3]) + " object of the program>"
        return str(self._link.operate(self._description, "repr"))

    def __iter__(self):
        return RemoteIterator(self._link, self._link.operate(self._description, "iter"))

    def __next__(self):
        return self._link.operate(self._description, "next")

    def __instancecheck__(self, value):
        if isinstance(value, tuple):
            value = self._link.handle_of(value)
        return isinstance(value, Remote) and self._link.operate(self._description, "isinstance", value)

    def __subclasscheck__(self, value):
        return isinstance(value, Remote) and self._link.operate(self._description, "issubclass", value)

    def __contains__(self, value):
        if isinstance(value, Remote) or self._link.is_tested(self):
            return self._link.operate(self._description, "contains", value) is True
        return any(item == value for item in self)

    def __dir__(self):
        return self._link.operate(self._description, "dir")

    def __format__(self, how):
        return str(self._link.operate(self._description, "format", how))

    def __round__(self, *digits):
        return self._link.unmixed(self, "round", *digits)

    def __enter__(self):
        return self._link.operate(self._description, "enter")

    def __exit__(self, kind, error, _):
        return self._link.operate(self._description, "exit", kind, error)

    def __await__(self):
        return self._link.operate(self._description, "await")
        yield

    def __aiter__(self):
        return self._link.operate(self._description, "aiter")

    def __anext__(self):
        return self._link.operate(self._description, "anext")

    async def __aenter__(self):
        return self._link.operate(self._description, "aenter")

    async def __aexit__(self, kind, error, _):
        return self._link.operate(self._description, "aexit", kind, error)


class RemoteIterator:
    def __init__(self, link, iterator):
        self.link = link
        self.iterator = iterator

    def __iter__(self):
        return self

    def __next__(self):
        if not isinstance(self.iterator, Remote):
            return next(self.iterator)
        return self.link.operate(self.iterator._description, "next")


def _unary(name):
    def method(self, *args):
        return self._link.operate(self._description, name, *args)
    return method


def _plain(name):
    def method(self, *args):
        return self._link.unmixed(self, name, *args)
    return method


def _binary(name, is_reflected=False):
    def method(self, other):
        link = self._link
        if isinstance(other, Remote):
            return link.operate(self._description, name, other)
        # If the other operand is plain data, the object could see the expected value and agree with it. So the result must
        # remain an object of the program.
        result = link.operate(self._description, ("r" if is_reflected else "") + name, other)
        if isinstance(result, Remote):
            return link.mixed(result)
        if result is NotImplemented:
            return result
        raise TypeError("the tests apply an operator to plain data and an object of the program, and plain data comes out")
    return method


def _comparison(name):
    def method(self, other):
        if not isinstance(other, Remote):
            raise TypeError("the tests compare plain data with an object of the program")
        return self._link.operate(self._description, name, other) is True
    return method


for _name in ("neg", "pos", "invert", "getitem", "setitem", "delitem"):
    setattr(Remote, "__" + _name + "__", _unary(_name))
for _name in ("abs", "len", "bool", "str", "int", "float", "complex", "reversed"):
    setattr(Remote, "__" + _name + "__", _plain(_name))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Remote, "__" + _name + "__", _comparison(_name))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift", "matmul",
              "divmod"):
    _called = {"and": "and_", "or": "or_"}.get(_name, _name)
    setattr(Remote, "__" + _name + "__", _binary(_called))
    setattr(Remote, "__r" + _name + "__", _binary(_called, True))
    if _name != "divmod":
        setattr(Remote, "__i" + _name + "__", _binary("i" + _called.rstrip("_")))


class Link:
    """The judge's connection to the program: sends calls and operations, and decodes the replies."""

    def __init__(self, door):
        self.door = door
        self.own = Own("__main__")
        self.packer = Packer(self.keep, self.find, self.own)
        self.exceptions = {}
        self.last = None
        self.raised = None
        self.error = None
        self.is_quiet = False
        self.kinds = {}
        # Names of the program's classes that the tests name.
        self.tested = set()
        self.patches = []
        self.stdin = None
        # How often the tests have called the program or read from it.
        self.uses = 0

    def handle_of(self, value):
        """The program's handle of one of its named tuples, which are data here; None if the tuple is not the program's."""
        kept = self.packer.tuples.get(id(value))
        return kept and self.find(kept[1])

    def is_tested(self, remote):
        return remote._description[1] == "v" and remote._description[3] in self.tested

    def mixed(self, remote):
        return type(remote)(self, remote._description, True)

    def unmixed(self, remote, name, *args):
        """Applies an operation that may return plain data. A mixed handle refuses most of these."""
        result = self.operate(remote._description, name, *args)
        if not remote._mixed:
            return result
        if isinstance(result, Remote):
            return self.mixed(result)
        if name in ("str", "len", "bool", "reversed"):
            return result
        raise TypeError("the tests make plain data of an object that came out of an operation with plain data")

    def keep(self, value):
        if isinstance(value, Remote):
            return value._description
        if isinstance(value, types.FunctionType):
            cells = [self.packer.pack(cell.cell_contents, 0) for cell in value.__closure__ or ()]
            return (-1, marshal.dumps(value.__code__), value.__name__, self.packer.pack(value.__defaults__, 0), cells)
        name = getattr(value, "__name__", "")
        if name and getattr(builtins, name, None) is value:
            return (0, "b", name, "")
        if isinstance(value, type(sys)):
            return (-2, "m", name, "")
        if isinstance(value, type) and issubclass(value, BaseException) and name in self.exceptions:
            return (-3, "x", name, "")
        module = getattr(value, "__module__", None)
        if name and module in sys.modules and module != "__main__" and getattr(sys.modules[module], name, None) is value:
            return (-4, module, name, "")
        raise TypeError("the tests cannot pass " + type(value).__name__ + " objects of their own to the program")

    def find(self, description):
        if description[1] == "b":
            kind = getattr(builtins, str(description[2]), None)
            if isinstance(kind, type):
                return kind
        if description[1] == "x":
            return self.exception_class([description[2]])
        return self.remote(description)

    def remote(self, description):
        """Makes a handle whose type has the name of the object's class."""
        name = str(description[3])
        kind = self.kinds.get(name)
        if kind is None:
            kind = self.kinds[name] = type(name, (Remote,), {"__slots__": (), "__module__": "__main__"})
        return kind(self, description)

    def ask(self, request):
        answer = self.door(b"C" + marshal.dumps(request, 4))
        if answer[:1] != b"0":
            raise ProgramEnded(answer[1:].decode("utf-8", "replace"))
        size = int.from_bytes(answer[1:5], "little")
        if size:
            sys.stdout.write(answer[5:5 + size].decode("utf-8", "replace"))
        reply = loads(answer[5 + size:])
        if reply[0] == "raised":
            self.throw(reply)
        if reply[0] != "value":
            raise TypeError("not a reply")
        return reply

    def throw(self, reply):
        _, names, arguments, message, text = reply
        self.raised = str(text)
        kind = self.exception_class(names)
        try:
            error = kind(*self.packer.decode(arguments))
        except Exception:
            error = kind(message) if issubclass(kind, Exception) else kind()
        self.error = error
        raise error

    def exception_class(self, names):
        """The built-in exception of that name, or a new class of that name derived from its nearest known base class."""
        name = str(names[0])
        known = getattr(builtins, name, None)
        if isinstance(known, type) and issubclass(known, BaseException):
            return known
        if name not in self.exceptions:
            base = Exception
            for other in names[1:]:
                found = getattr(builtins, str(other), None)
                if isinstance(found, type) and issubclass(found, BaseException):
                    base = found
                    break
                if str(other) in self.exceptions:
                    base = self.exceptions[str(other)]
                    break
            self.exceptions[name] = type(name, (base,), {})
        return self.exceptions[name]

    def call(self, target, args, kwargs):
        self.uses += 1
        self.last = (target, args, kwargs, None)
        if self.patches or sys.stdin is not self.stdin:
            self.send_patches()
        try:
            reply = self.ask(("call", target, self.packer.encode((args, kwargs))))
        finally:
            if self.patches:
                self.fetch_calls()
        if reply[2] is not None:
            new_args, new_kwargs = self.packer.decode(reply[2])
            for old, new in zip(args, new_args):
                update(old, new)
            for name in kwargs:
                update(kwargs[name], new_kwargs[name])
        result = self.packer.decode(reply[1])
        self.last = (target, args, kwargs, (result,))
        return result

    def operate(self, target, name, *args):
        self.uses += 1
        return self.packer.decode(self.ask(("do", target, name, self.packer.encode((args, {}))))[1])

    def name(self, name):
        return self.packer.decode(self.ask(("name", name))[1])

    def function(self, name):
        def function(*args, **kwargs):
            return self.call(name, args, kwargs)
        function.__name__ = function.__qualname__ = name
        function.__codeexec_remote__ = True
        return function

    def coroutine_function(self, name):
        async def function(*args, **kwargs):
            result = self.call(name, args, kwargs)
            return await result if isinstance(result, Remote) else result
        function.__name__ = function.__qualname__ = name
        function.__codeexec_remote__ = True
        return function

    def said(self):
        """The program's last call and its result, as text for messages."""
        if self.last is None or self.last[3] is None:
            return ""
        target, args, kwargs, result = self.last
        name = target if type(target) is str else str(target[2])
        shown = ", ".join([self.short(a) for a in args] + [k + "=" + self.short(v) for k, v in kwargs.items()])
        return name + "(" + shown + ") returned " + self.short(result[0])

    def short(self, value, size=200):
        """A value as text, without a request to the program."""
        before, self.is_quiet = self.is_quiet, True
        try:
            return short(value, size)
        except Exception as error:
            return "<" + type(value).__name__ + " that cannot be shown: " + type(error).__name__ + ">"
        finally:
            self.is_quiet = before

    # Attributes that the tests replace by `unittest.mock.patch` are replaced in the program too; calls of the mocks return here.

    def send_patches(self):
        list_ = [(where, name, describe(value, self.packer)) for where, name, value in self.patches]
        if sys.stdin is not self.stdin and not any(where == "sys" and name == "stdin" for where, name, _ in self.patches):
            list_.append(("sys", "stdin", describe(sys.stdin, self.packer)))
        self.ask(("patch", list_))

    def fetch_calls(self):
        calls = self.packer.decode(self.ask(("unpatch",))[1])
        for (_, _, value), made in zip(self.patches, calls):
            for path, args, kwargs in made:
                replay(value, path, args, kwargs)


def describe(value, packer, depth=0):
    """Describes a replacement so that the program can rebuild it: a mock with its settings, a text to read, or a value."""
    from unittest import mock
    import io
    if isinstance(value, mock.NonCallableMock) and depth < 6:
        children = {name: describe(child, packer, depth + 1) for name, child in value._mock_children.items()
                    if isinstance(child, mock.NonCallableMock)}
        plain = {}
        for name, item in vars(value).items():
            if not name.startswith(("_", "method_calls", "mock_calls")) and not isinstance(item, mock.NonCallableMock):
                try:
                    plain[name] = packer.pack(item, 0)
                except TypeError:
                    pass
        result = effect = None
        if value._mock_return_value is not mock.DEFAULT:
            result = describe(value._mock_return_value, packer, depth + 1)
        side = value.side_effect if isinstance(value, mock.CallableMixin) else None
        if side is not None:
            if isinstance(side, (list, tuple)) or hasattr(side, "__next__"):
                items = list(itertools.islice(side, MOST_ITEMS))
                value.side_effect = items
                effect = ("items", packer.pack(items, 0))
            else:
                effect = ("one", packer.pack(side, 0))
        return ("mock", result, effect, children, plain)
    if isinstance(value, io.StringIO):
        return ("text", value.getvalue()[value.tell():])
    if isinstance(value, io.TextIOWrapper) and isinstance(value.buffer, io.BytesIO):
        return ("text", value.buffer.getvalue().decode("utf-8", "replace"))
    return ("value", packer.pack(value, 0))


def replay(value, path, args, kwargs):
    """Repeats on a mock of the tests a call that the program's copy of the mock received."""
    from unittest import mock
    if not isinstance(value, mock.NonCallableMock):
        return
    for part in path.split("."):
        while part.endswith("()") or part == "()":
            part, value = part[:-2], value.return_value
        if part:
            value = getattr(value, part)
    side, value.side_effect = value.side_effect, None
    try:
        value(*args, **kwargs)
    finally:
        value.side_effect = side[1:] if isinstance(side, list) else side


def mirror_patches(link):
    """Makes `unittest.mock.patch` of a module's attribute take effect in the program's interpreter too."""
    from unittest import mock
    enter, leave = mock._patch.__enter__, mock._patch.__exit__

    def entered(self):
        new = enter(self)
        where = self.target
        name = getattr(where, "__name__", None) if isinstance(where, types.ModuleType) else None
        if name and not (name == "sys" and self.attribute in ("stdout", "stderr")):
            place = "__main__" if getattr(where, "__codeexec_program__", False) else name
            self.codeexec_patch = (place, self.attribute, getattr(where, self.attribute))
            link.patches.append(self.codeexec_patch)
        return new

    def left(self, *error):
        made = self.__dict__.pop("codeexec_patch", None)
        if made is not None:
            link.patches.remove(made)
            if not link.patches:
                link.ask(("patch", []))
        return leave(self, *error)

    mock._patch.__enter__, mock._patch.__exit__ = entered, left


def short(value, size=200):
    text = repr(value)
    return text if len(text) <= size else text[:size] + "..."
