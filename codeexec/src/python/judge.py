"""The half of the harness that judges. It runs in an interpreter of its own, which the program cannot reach: the program's
functions are called from here, its results come as data, and expected values never leave.
"""

import ast
import builtins
import json
import linecache
import marshal
import math
import sys
import traceback
import types

TESTS = "tests.py"
LONG = 20000  # characters of tests beyond which they are not taken apart


class ProgramEnded(BaseException):
    """The program's interpreter is gone: it exited, crashed or ran into a limit."""


class Remote:
    """An object that lives with the program."""

    __slots__ = ("_link", "_description")

    def __init__(self, link, description):
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_description", description)

    def __call__(self, *args, **kwargs):
        return self._link.call(self._description, args, kwargs)

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__") and name not in ("__name__", "__doc__", "__len__"):
            raise AttributeError(name)
        return self._link.operate(self._description, "getattr", name)

    def __setattr__(self, name, value):
        self._link.operate(self._description, "setattr", name, value)

    def __eq__(self, other):
        if not isinstance(other, Remote):
            return False  # an object of the program never counts as plain data, whatever its __eq__ says
        if self._description[0] == other._description[0] and self._description[0]:
            return True
        return self._link.operate(self._description, "eq", other) is True

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return self._link.operate(self._description, "hash")

    def __repr__(self):
        return "<" + str(self._description[3]) + " object of the program>"

    def __iter__(self):
        return RemoteIterator(self._link, self._link.operate(self._description, "iter"))

    def __next__(self):
        return self._link.operate(self._description, "next")

    def __instancecheck__(self, value):
        return isinstance(value, Remote) and self._link.operate(self._description, "isinstance", value)

    def __subclasscheck__(self, value):
        return isinstance(value, Remote) and self._link.operate(self._description, "issubclass", value)

    def __contains__(self, value):
        return any(item == value for item in self)


class RemoteIterator:
    def __init__(self, link, iterator):
        self.link = link
        self.iterator = iterator

    def __iter__(self):
        return self

    def __next__(self):
        if not isinstance(self.iterator, Remote):
            raise TypeError("not an iterator")
        return next(self.iterator)


def _unary(name):
    def method(self, *args):
        return self._link.operate(self._description, name, *args)
    return method


def _binary(name):
    def method(self, other):
        # With plain data on the other side an object could see what is expected of it and agree.
        if not isinstance(other, Remote):
            raise TypeError("the tests apply an operator to plain data and an object of the program")
        return self._link.operate(self._description, name, other)
    return method


for _name in ("neg", "pos", "invert", "getitem", "setitem", "delitem", "abs", "len", "bool", "str", "int", "float",
              "reversed"):
    setattr(Remote, "__" + _name + "__", _unary(_name))
for _name in ("lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor",
              "lshift", "rshift", "matmul"):
    setattr(Remote, "__" + _name + "__", _binary({"and": "and_", "or": "or_"}.get(_name, _name)))


class Link:
    """Calls over to the program."""

    def __init__(self, door):
        self.door = door
        self.packer = Packer(self.keep, self.find)
        self.exceptions = {}
        self.last = None
        self.raised = None

    def keep(self, value):
        if isinstance(value, Remote):
            return value._description
        if isinstance(value, types.FunctionType):
            cells = [self.packer.pack(cell.cell_contents, 0) for cell in value.__closure__ or ()]
            return (-1, marshal.dumps(value.__code__), value.__name__, self.packer.pack(value.__defaults__, 0), cells)
        name = getattr(value, "__name__", "")
        if name and getattr(builtins, name, None) is value:
            return (0, "b", name, "")
        raise TypeError("the tests cannot pass " + type(value).__name__ + " objects of their own to the program")

    def find(self, description):
        if description[1] == "b":
            kind = getattr(builtins, str(description[2]), None)
            if isinstance(kind, type):
                return kind
        if description[1] == "x":
            return self.exception_class([description[2]])
        return Remote(self, description)

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
        raise error

    def exception_class(self, names):
        """The built-in class of that name, or a class of that name under the nearest built-in one."""
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
            self.exceptions[name] = type(name, (base,), {})
        return self.exceptions[name]

    def call(self, target, args, kwargs):
        self.last = (target, args, kwargs, None)
        reply = self.ask(("call", target, self.packer.encode((args, kwargs))))
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
        return self.packer.decode(self.ask(("do", target, name, self.packer.encode((args, {}))))[1])

    def name(self, name):
        return self.packer.decode(self.ask(("name", name))[1])

    def function(self, name):
        def function(*args, **kwargs):
            return self.call(name, args, kwargs)
        function.__name__ = function.__qualname__ = name
        return function

    def said(self):
        """What the program answered last, for messages."""
        if self.last is None or self.last[3] is None:
            return ""
        target, args, kwargs, result = self.last
        name = target if type(target) is str else str(target[2])
        shown = ", ".join([short(a) for a in args] + [k + "=" + short(v) for k, v in kwargs.items()])
        return name + "(" + shown + ") returned " + short(result[0])


def short(value, size=200):
    text = repr(value)
    return text if len(text) <= size else text[:size] + "..."


def names_in(code):
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= names_in(constant)
    return found


def equal(got, expected, atol, from_json=False):
    """EvalPlus's rule: equal, or floats within a tolerance (relative 1e-7, as numpy's allclose is called there).

    From JSON, where there are neither tuples nor sets and keys are strings: a tuple equals the list of its items, a set
    the sorted list, a key its text.
    """
    if from_json:
        if isinstance(got, tuple):
            got = list(got)
        elif isinstance(got, (set, frozenset)) and isinstance(expected, list):
            try:
                got, expected = sorted(got), sorted(expected)
            except TypeError:
                return False
        elif isinstance(got, dict) and isinstance(expected, dict):
            got = {k if isinstance(k, str) else json.dumps(k) if type(k) in (int, float, bool) else str(k): v
                   for k, v in got.items()}
        if isinstance(got, list) and isinstance(expected, list):
            return len(got) == len(expected) and all(equal(g, e, atol, True) for g, e in zip(got, expected))
        if isinstance(got, dict) and isinstance(expected, dict):
            return got.keys() == expected.keys() and all(equal(got[k], expected[k], atol, True) for k in got)
    try:
        if bool(got == expected):
            return True
    except ValueError:
        import numpy
        return bool(numpy.array_equal(got, expected))
    if is_floats(expected):
        atol = atol or 1e-6
        return close(got, expected, atol)
    return False


def is_floats(value):
    if isinstance(value, (list, tuple)) and value:
        return all(is_floats(v) for v in value)
    return type(value) is float


def close(got, expected, atol):
    if isinstance(expected, (list, tuple)):
        return (type(got) is type(expected) and len(got) == len(expected)
                and all(close(g, e, atol) for g, e in zip(got, expected)))
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        return False
    if math.isnan(expected):
        return math.isnan(got)
    return got == expected or abs(got - expected) <= atol + 1e-7 * abs(expected)


def lint(code):
    """What pyflakes finds in a program's text: line and column from 1, the finding's class, its message."""
    try:
        tree = ast.parse(code, "program.py")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = {"line": getattr(error, "lineno", None) or 1, "column": getattr(error, "offset", None) or 1}
        return [{**place, "code": type(error).__name__, "message": str(getattr(error, "msg", error))}]
    import pyflakes.checker
    messages = pyflakes.checker.Checker(tree, filename="program.py").messages
    messages.sort(key=lambda m: (m.lineno, m.col))
    return [{"line": m.lineno, "column": m.col + 1, "code": type(m).__name__, "message": m.message % m.message_args}
            for m in messages[:500]]


class Judge:
    def __init__(self, door):
        self.door = door
        self.link = Link(door)
        self.namespace = {"__name__": "tests", "__builtins__": builtins, "__file__": TESTS}
        self.names = {}
        self.shown = None

    def main(self):
        import random
        random.seed()
        job = json.loads(self.door(b"T"))
        self.names = dict(job.get("names") or ())
        kind = job["kind"]
        if kind == "script":
            self.script(job["test"], job.get("entry_point"))
        elif kind == "asserts":
            self.asserts(job.get("setup") or "", job["tests"])
        elif kind == "lint":
            self.door(b"F" + json.dumps(lint(job["code"])).encode("utf-8", "replace"))
        elif kind == "table":
            self.table(job["entry_point"], job["rows"])
        else:
            self.reference(job)
        sys.stdout.flush()
        self.door(b"E")

    def report(self, name, error=None):
        result = {"name": name[:300], "passed": error is None, "message": "", "kind": "passed"}
        if error is not None:
            ours = isinstance(error, AssertionError) and self.link.raised is None
            result["kind"] = "failed" if ours else "error"
            result["message"] = self.message(error)[:4000]
            if self.link.raised is not None:
                result["traceback"] = self.link.raised
        self.link.raised = None
        sys.stdout.flush()
        self.door(b"D" + json.dumps(result).encode("utf-8", "replace"))

    def message(self, error):
        said = self.link.said()
        if isinstance(error, ProgramEnded):
            return str(error)
        if isinstance(error, AssertionError):
            return "; ".join(part for part in (str(error), said) if part) or "the assertion is false"
        text = traceback.format_exception_only(type(error), error)[-1].strip()
        return text

    def bind(self, code):
        """Gives the tests the names of the program that they use."""
        for name in names_in(code):
            if name in self.names and name not in self.namespace:
                self.namespace[name] = self.value(name)

    def value(self, name):
        kind = self.names.get(name)
        if kind == "f":
            return self.link.function(name)
        if kind == "m":
            remote = self.link.name(name)
            module = remote._description[2] if isinstance(remote, Remote) else ""
            try:
                return __import__(str(module), fromlist=["x"])
            except Exception:
                return remote
        if kind is None:
            raise NameError("the program defines no " + repr(name))
        return self.link.name(name)

    def run(self, source, what):
        """Compiles and runs a piece of the tests; the name it is reported by is its text."""
        linecache.cache[TESTS] = (len(source), None, source.splitlines(True), TESTS)
        code = compile(source, TESTS, what, dont_inherit=True)
        self.bind(code)
        exec(code, self.namespace)

    def asserts(self, setup, tests):
        if setup.strip():
            try:
                self.run(setup, "exec")
            except BaseException as error:
                self.report("setup", error)
                return
        for test in tests:
            self.guarded(test, lambda: self.run(test, "exec"))

    def guarded(self, name, action):
        """Runs one test and reports it; false when it did not pass."""
        self.link.last = self.link.raised = None
        try:
            action()
        except BaseException as error:
            self.report(name, error)
            return False
        self.report(name)
        return True

    def script(self, source, entry_point):
        """A text of tests: a `check(candidate)` function, or statements."""
        linecache.cache[TESTS] = (len(source), None, source.splitlines(True), TESTS)
        try:
            if len(source) > LONG:
                code = compile(source, TESTS, "exec", dont_inherit=True)
                splits, does = False, True
                has_check = "check" in code.co_names
            else:
                tree = ast.parse(source, TESTS)
                has_check = any(isinstance(s, ast.FunctionDef) and s.name == "check" for s in tree.body)
                quiet = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
                does = any(not isinstance(s, quiet) and not isinstance(getattr(s, "value", None), ast.Constant)
                           for s in tree.body)
                splits = self.split(source, tree)
                does = does and not (splits and not any(isinstance(s, ast.Try) for s in tree.body))
                code = compile(tree, TESTS, "exec", dont_inherit=True)
            self.bind(code)
        except BaseException as error:
            self.report("tests", error)
            return
        self.namespace["__report__"] = self.report
        self.namespace["__begin__"] = self.begin
        self.shown = 0
        name = "check(" + str(entry_point) + ")" if has_check else "tests"

        def action():
            exec(code, self.namespace)
            if has_check and not self.calls(source, "check"):
                if not entry_point:
                    raise ValueError("the tests define check(candidate), but no entry_point says what to call it with")
                self.namespace["check"](self.value(entry_point))
        self.link.last = self.link.raised = None
        try:
            action()
        except BaseException as error:
            self.report(name, error)
            return
        self.test_functions(source)
        if self.shown == 0:
            reached = has_check and not splits or does
            self.report(name, None if reached else ValueError("no test was reached"))

    def test_functions(self, source):
        """Calls the functions `test_...` of the tests, as pytest does, unless the tests call them."""
        for name, value in list(self.namespace.items()):
            if (name.startswith("test") and isinstance(value, types.FunctionType) and value.__code__.co_argcount == 0
                    and value.__code__.co_filename == TESTS and not self.calls(source, name)):
                self.shown += 1
                self.guarded(name, value)

    def calls(self, source, name):
        return any(line.startswith(name + "(") for line in source.splitlines())

    def begin(self):
        self.shown += 1
        self.link.last = self.link.raised = None

    def split(self, source, tree):
        """Makes each assert of the text and of its `check` a test of its own, which is reported and does not stop the
        next ones; true when there was one."""
        lines = source.splitlines()
        found = False
        for body in [tree.body] + [s.body for s in tree.body if isinstance(s, ast.FunctionDef) and s.name == "check"]:
            for i, statement in enumerate(body):
                if isinstance(statement, ast.Assert):
                    found = True
                    first, last = statement.lineno - 1, statement.end_lineno
                    name = "\n".join(lines[first:last]).strip()
                    body[i] = self.wrapped(statement, name)
        if found:
            ast.fix_missing_locations(tree)
        return found

    def wrapped(self, statement, name):
        def call(function, *args):
            called = ast.Call(ast.Name(function, ast.Load()), list(args), [])
            return ast.copy_location(ast.Expr(called), statement)
        label = ast.Constant(name)
        handler = ast.ExceptHandler(ast.Name("BaseException", ast.Load()), "__error__",
                                    [call("__report__", label, ast.Name("__error__", ast.Load()))])
        body = [call("__begin__"), statement]
        return ast.copy_location(ast.Try(body, [handler], [call("__report__", label)], []), statement)

    def table(self, entry_point, rows):
        for i, row in enumerate(rows):
            args, kwargs = row.get("args", []), row.get("kwargs", {})
            name = row.get("name") or entry_point + "(" + ", ".join(short(a, 60) for a in args) + ")"

            def action():
                got = self.link.call(entry_point, tuple(args), kwargs)
                if not equal(got, row["expected"], row.get("atol", 0), True):
                    raise AssertionError("expected " + short(row["expected"]))
            self.guarded(name, action)

    def reference(self, job):
        """Inputs whose right outputs a reference solution gives, as EvalPlus does."""
        namespace = {"__name__": "reference", "__builtins__": builtins}
        try:
            exec(compile(job["reference"], "reference.py", "exec", dont_inherit=True), namespace)
            inputs = eval(compile(job["inputs"], "inputs.py", "eval"), namespace)
        except BaseException as error:
            self.report("reference", error)
            return
        solution, entry_point, atol = namespace[job["entry_point"]], job["entry_point"], job.get("atol") or 0
        import copy
        passed = 0
        for args in inputs:
            try:
                expected = solution(*copy.deepcopy(args))
            except Exception as error:
                self.report("reference(" + ", ".join(short(a, 60) for a in args) + ")", error)
                return

            def check():
                got = self.link.call(entry_point, tuple(args), {})
                if not self.same(job.get("rule"), entry_point, args, got, expected, atol, namespace):
                    raise AssertionError("expected " + short(expected))
            self.link.last = self.link.raised = None
            try:
                check()
                passed += 1
            except BaseException as error:
                self.report(entry_point + "(" + ", ".join(short(a, 60) for a in args) + ")", error)
                return
        self.report(str(passed) + " inputs of " + entry_point)

    def same(self, rule, entry_point, args, got, expected, atol, namespace):
        if rule == "set":
            return set(got) == set(expected)
        if rule == "not_none":
            return (got is not None) == (expected is not None)
        if rule == "zero":
            return got == expected or abs(namespace["poly"](*args, got)) <= atol
        return equal(got, expected, atol)
