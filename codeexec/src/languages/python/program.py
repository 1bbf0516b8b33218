"""The program's side of the harness. The judge does not trust it: it only runs the program and transfers values."""

import builtins
import linecache
import sys
import traceback

FILE = "program.py"


def run_threads():
    """Runs the threads that nobody has waited for. Does nothing in an interpreter with real threads."""
    run = globals().get("run_pending")
    if run is not None:
        run()


LOOPS = []


def awaited(value):
    """Runs an awaitable to its end. All awaitables of a program run in one event loop."""
    import asyncio

    async def wait():
        return await value
    if not LOOPS:
        LOOPS.append(asyncio.new_event_loop())
    return LOOPS[0].run_until_complete(wait())


OPERATIONS = {
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "isinstance": lambda kind, value: isinstance(value, kind),
    "issubclass": lambda kind, value: issubclass(value, kind),
    "contains": lambda value, item: item in value,
    "enter": lambda value: type(value).__enter__(value),
    "exit": lambda value, kind, error: type(value).__exit__(value, kind, error, None),
    "await": awaited,
    "aiter": aiter,
    "anext": lambda value: type(value).__anext__(value),
    "aenter": lambda value: awaited(type(value).__aenter__(value)),
    "aexit": lambda value, kind, error: awaited(type(value).__aexit__(value, kind, error, None)),
    "rdivmod": lambda value, other: divmod(other, value),
    "rpow": lambda value, other: pow(other, value),
    "dir": lambda value: [name for name in dir(value) if isinstance(name, str)],
}
for _name in ("iter", "next", "bool", "len", "repr", "str", "hash", "int", "float", "complex", "abs", "round", "reversed",
              "list", "format", "divmod"):
    OPERATIONS[_name] = getattr(builtins, _name)


class Program:
    """Runs the program, then answers the judge's requests one at a time."""

    def __init__(self, door):
        self.door = door
        self.objects = {}
        self.numbers = {}
        self.own = Own()
        self.packer = Packer(self.keep, self.find, self.own)
        self.namespace = None
        self.replaced = []

    def keep(self, value):
        """The handle of an object: (number, kind, name, name of its class)."""
        number = self.numbers.get(id(value))
        if number is None:
            number = len(self.objects) + 1
            self.objects[number] = value
            self.numbers[id(value)] = number
        return (number, self.kind(value), getattr(value, "__name__", type(value).__name__), type(value).__name__)

    def kind(self, value):
        if isinstance(value, type):
            if issubclass(value, BaseException):
                return "x"
            return "b" if getattr(builtins, value.__name__, None) is value else "c"
        if isinstance(value, type(sys)):
            return "m"
        if callable(value):
            is_coroutine = hasattr(value, "__code__") and value.__code__.co_flags & 128
            return "a" if is_coroutine else "f" if hasattr(value, "__name__") else "v"
        return "v"

    def find(self, description):
        number = description[0]
        if number == -1:
            return self.function(*description[1:])
        if number == -2:
            return __import__(description[2], fromlist=["x"])
        if number == -3:
            return self.namespace[description[2]]
        if number == -4:
            return getattr(__import__(description[1], fromlist=["x"]), description[2])
        return self.objects[number] if number else getattr(builtins, description[2])

    def function(self, code, name, defaults, cells):
        """Rebuilds a function that the tests pass as an argument."""
        import marshal
        import types
        # The judge's instrumentation calls these two. Assertions are counted by the judge only.
        builtins.__codeexec_count__ = lambda: None
        builtins.__codeexec_counted__ = lambda function: function
        closure = tuple(types.CellType(self.packer.unpack(cell)) for cell in cells)
        return types.FunctionType(marshal.loads(code), self.namespace, name, self.packer.unpack(defaults), closure)

    def load(self, code, argv):
        """Runs the program's text as `__main__`."""
        import random
        random.seed()
        module = type(sys)("__main__")
        module.__builtins__ = builtins
        sys.modules["__main__"] = module
        sys.argv = argv
        self.namespace = self.own.namespace = module.__dict__
        self.namespace["__file__"] = FILE
        # Each line ends with a newline, like the lines of a file.
        linecache.cache[FILE] = (len(code), None, [line + "\n" for line in code.split("\n")], FILE)
        try:
            exec(compile(code, FILE, "exec", dont_inherit=True), self.namespace)
            run_threads()
            self.flush()
            return {"loaded": [(n, self.kind(v)) for n, v in list(self.namespace.items())
                               if type(n) is str and not n.startswith("__")]}
        except BaseException as error:
            _, names, _, _, text = self.failure(error)
            return {"raised": {"class": names[0], "traceback": text}}

    def failure(self, error):
        """Encodes an exception: names of its classes, arguments, message, and a traceback without the harness's own lines."""
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == HERE:
            frames = frames.tb_next
        try:
            text = "".join(traceback.format_exception(type(error), error, frames))
        except BaseException:
            text = type(error).__name__
        try:
            arguments = self.packer.encode(error.args)
            dumps(arguments)
        except BaseException:
            arguments = (0, ())
        try:
            message = str(error)
        except BaseException:
            message = ""
        self.flush()
        names = [c.__name__ for c in type(error).__mro__ if isinstance(c.__name__, str)]
        return ("raised", names, arguments, told(message)[:2000], told(text)[-20000:])

    def flush(self):
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            pass

    def answer(self, request):
        try:
            what = request[0]
            if what == "call":
                _, target, message = request
                function = self.named(target) if type(target) is str else self.find(target)
                args, kwargs = self.packer.decode(message)
                watched = has_mutable(args) or (kwargs and has_mutable(kwargs.values()))
                before = dumps(self.packer.encode((args, kwargs))) if watched else None
                result = function(*args, **kwargs)
                changed = None
                if watched:
                    after = self.packer.encode((args, kwargs))
                    if dumps(after) != before:
                        changed = after
                reply = ("value", self.packer.encode(result), changed)
            elif what == "name":
                reply = ("value", self.packer.encode(self.named(request[1])), None)
            elif what == "patch":
                self.patch(request[1])
                reply = ("value", (0, None), None)
            elif what == "unpatch":
                reply = ("value", self.packer.encode([self.calls(new) for _, _, _, new in self.replaced]), None)
            else:
                reply = ("value", self.packer.encode(self.operate(*request[1:])), None)
            run_threads()
            self.flush()
            return dumps(reply)
        except BaseException as error:
            return dumps(self.failure(error))

    def named(self, name):
        """The value of a name that the program defines, or of an expression such as `Solution().twoSum`. If only the class
        `Solution` has the name, the value is that method of a new `Solution` object."""
        if name in self.namespace:
            return self.namespace[name]
        if not name.isidentifier():
            return eval(compile(name, "entry_point", "eval"), self.namespace)
        solution = self.namespace.get("Solution")
        if isinstance(solution, type) and hasattr(solution, name):
            return getattr(solution(), name)
        raise NameError("the program defines no " + repr(name))

    def patch(self, wanted):
        """Replaces attributes of modules as the tests do. First restores all attributes that were replaced before."""
        for owner, name, old, _ in reversed(self.replaced):
            setattr(owner, name, old)
        self.replaced.clear()
        for where, name, how in wanted:
            owner = sys.modules["__main__"] if where == "__main__" else __import__(where, fromlist=["x"])
            new = self.stand_in(how)
            self.replaced.append((owner, name, getattr(owner, name), new))
            setattr(owner, name, new)

    def stand_in(self, how):
        import io
        from unittest import mock
        if how[0] == "text":
            return io.StringIO(how[1])
        if how[0] == "value":
            return self.packer.unpack(how[1])
        _, result, effect, children, plain = how
        made = mock.MagicMock()
        for name, item in plain.items():
            setattr(made, name, self.packer.unpack(item))
        for name, child in children.items():
            if name != "()":
                setattr(made, name, self.stand_in(child))
        if result is not None:
            made.return_value = self.stand_in(result)
        if effect is not None:
            made.side_effect = self.packer.unpack(effect[1])
        made.reset_mock()
        return made

    def calls(self, new):
        made = [(name, args, kwargs) for name, args, kwargs in getattr(new, "mock_calls", ())
                if not name.startswith("__") and ".__" not in name]
        if made:
            new.reset_mock()
        return made

    def operate(self, target, name, message):
        """Applies an operation to an object of which the judge has a handle."""
        value = self.find(target)
        args, _ = self.packer.decode(message)
        operation = OPERATIONS.get(name)
        if operation is not None:
            return operation(value, *args)
        import operator
        if name[0] == "r" and hasattr(operator, name[1:]):
            return getattr(operator, name[1:])(args[0], value)
        return getattr(operator, name)(value, *args)

    def start(self):
        import json
        job = json.loads(self.door(b"P"))
        outcome = self.load(job["code"], job["argv"])
        self.door(b"L" + json.dumps(outcome).encode("utf-8", "replace"))
        return "loaded" in outcome

    def step(self):
        self.door(b"R" + self.answer(loads(self.door(b"N"))))
