"""The half of the harness that lives with the program. Nothing here is trusted: it only carries values."""

import builtins
import linecache
import sys
import traceback

FILE = "program.py"


class Program:
    """The program's side: runs it, then answers the judge's requests one at a time."""

    def __init__(self, door):
        self.door = door
        self.objects = {}
        self.numbers = {}
        self.packer = Packer(self.keep, self.find)
        self.namespace = None

    def keep(self, value):
        """A handle for an object: (number, kind, name, is callable)."""
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
        return "f" if callable(value) else "v"

    def find(self, description):
        number = description[0]
        if number == -1:
            return self.function(*description[1:])
        return self.objects[number] if number else getattr(builtins, description[2])

    def function(self, code, name, defaults, cells):
        """A function that the tests pass as an argument, rebuilt on this side."""
        import marshal
        import types
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
        self.namespace = module.__dict__
        self.namespace["__file__"] = FILE
        # With an end of line for each, as a file has them.
        linecache.cache[FILE] = (len(code), None, [line + "\n" for line in code.split("\n")], FILE)
        try:
            exec(compile(code, FILE, "exec", dont_inherit=True), self.namespace)
            self.flush()
            return {"loaded": [(n, self.kind(v)) for n, v in list(self.namespace.items())
                               if type(n) is str and not n.startswith("__")]}
        except BaseException as error:
            _, names, _, _, text = self.failure(error)
            return {"raised": {"class": names[0], "traceback": text}}

    def failure(self, error):
        """How an exception is told: the names of its classes, its arguments, and a traceback of the program's lines."""
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
        return ("raised", names, arguments, message[:2000], text[-20000:])

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
                function = self.namespace[target] if type(target) is str else self.find(target)
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
                reply = ("value", self.packer.encode(self.namespace[request[1]]), None)
            else:
                reply = ("value", self.packer.encode(self.operate(*request[1:])), None)
            self.flush()
            return dumps(reply)
        except BaseException as error:
            return dumps(self.failure(error))

    def operate(self, target, name, message):
        """An operation on an object that the judge holds a handle of."""
        value = self.find(target)
        args, _ = self.packer.decode(message)
        if name == "getattr":
            return getattr(value, args[0])
        if name == "setattr":
            return setattr(value, args[0], args[1])
        if name == "isinstance":
            return isinstance(args[0], value)
        if name == "issubclass":
            return issubclass(args[0], value)
        if name == "iter":
            return iter(value)
        if name == "next":
            return next(value)
        if name == "bool":
            return bool(value)
        if name in ("len", "repr", "str", "hash", "int", "float", "abs", "reversed", "list"):
            return getattr(builtins, name)(value)
        import operator
        return getattr(operator, name)(value, *args)

    def start(self):
        import json
        job = json.loads(self.door(b"P"))
        outcome = self.load(job["code"], job["argv"])
        self.door(b"L" + json.dumps(outcome).encode("utf-8", "replace"))
        return "loaded" in outcome

    def step(self):
        self.door(b"R" + self.answer(loads(self.door(b"N"))))
