"""The judge's side of the harness. It runs in a separate interpreter, which the program cannot reach. It calls the program's
functions, receives the results as data, and compares them with the expected values here.
"""

import ast
import builtins
import importlib.abc
import importlib.machinery
import json
import linecache
import math
import sys
import traceback
import types

TESTS = "tests.py"
LONG = 20000  # characters; a longer test source is not instrumented, and its comparisons are counted by line
# Module names by which tests import the program, for tests whose imported names do not tell.
MODULES = frozenset({"solution", "program", "main", "submission", "candidate", "answer", "implementation", "impl", "module",
                     "your_module", "my_module", "student", "solution_code", "target"})


def names_in(code):
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= names_in(constant)
    return found


def equal(got, expected, atol, from_json=False):
    """EvalPlus's rule: equal, or floats within a tolerance (relative 1e-7, as numpy's allclose is called there).

    With `from_json`, `expected` has neither tuples nor sets, and its keys are strings: a tuple and the values of a
    dictionary equal the list of their items, a set the sorted list, a key its text.
    """
    if from_json:
        if isinstance(got, (tuple, type({}.values()))):
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
        return (isinstance(got, list if isinstance(expected, list) else tuple) and len(got) == len(expected)
                and all(close(g, e, atol) for g, e in zip(got, expected)))
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        return False
    if math.isnan(expected):
        return math.isnan(got)
    return got == expected or abs(got - expected) <= atol + 1e-7 * abs(expected)


def lint(code):
    """Pyflakes' findings in a program's source: line and column (from 1), class and message of each."""
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


class ProgramModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The program as a module that the tests import by a name such as `solution`."""

    def __init__(self, judge):
        self.judge = judge

    def find_spec(self, name, path=None, target=None):
        if name in self.judge.modules or any(module.startswith(name + ".") for module in self.judge.modules):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        judge = self.judge

        class Module(types.ModuleType):
            def __getattr__(self, name):
                if name.startswith("__") or name not in judge.names:
                    raise AttributeError(name)
                return judge.value(name)
        judge.is_used = True
        module = Module(spec.name)
        module.__all__ = list(judge.names)
        module.__codeexec_program__ = True
        return module

    def exec_module(self, module):
        pass


class Case:
    """An assertion that has its own result: its failure does not stop the next ones."""

    def __init__(self, judge, name):
        self.judge = judge
        self.name = name

    def __enter__(self):
        self.judge.shown += 1
        self.judge.checks.one()
        self.judge.begin()

    def __exit__(self, kind, error, trace):
        self.judge.report(self.name, error)
        return True


class Judge:
    def __init__(self, door):
        self.door = door
        self.link = Link(door)
        self.checks = Checks(self.link, TESTS)
        # Tests may contain `if __name__ == "__main__":`.
        self.namespace = {"__name__": "__main__", "__builtins__": builtins, "__file__": TESTS,
                          "__codeexec_count__": self.checks.one, "__codeexec_counted__": self.checks.counted,
                          "__codeexec_caught__": self.checks.caught, "__codeexec_always__": self.checks.always,
                          "__codeexec_entering__": self.checks.entering, "__codeexec_leaving__": self.checks.leaving,
                          "__codeexec_stayed__": self.checks.stayed, "__codeexec_truth__": self.checks.truth,
                          "__codeexec_caught_any__": self.checks.caught_any, "__codeexec_context__": self.checks.context,
                          "__codeexec_case__": lambda name: Case(self, name)}
        self.names = {}
        self.modules = set()
        # Whether the tests name something that the program defines, and whether a test has passed.
        self.is_used = self.has_passed = False
        self.entry_point = None
        self.shown = None

    def main(self):
        import random
        random.seed()
        job = json.loads(self.door(b"T"))
        self.names = dict(job.get("names") or ())
        self.entry_point = job.get("entry_point")
        self.link.stdin = sys.stdin
        kind = job["kind"]
        if kind in ("script", "asserts"):
            watch_exceptions(self.checks)
            if self.prepared(job.get("setup") or ""):
                for test in job["tests"] if kind == "asserts" else ():
                    self.entry(test)
                if kind == "script":
                    self.script(job["test"])
                if self.has_passed and not (self.is_used and self.link.uses):
                    self.report("tests", NotUsed(self.is_used))
        elif kind == "lint":
            self.door(b"F" + json.dumps(lint(job["code"])).encode("utf-8", "replace"))
        elif kind == "table":
            self.table(job["entry_point"], job["rows"])
        elif kind == "checker":
            self.checker(job)
        else:
            self.reference(job)
        sys.stdout.flush()
        self.door(b"E")

    def report(self, name, error=None):
        result = {"name": name[:300], "passed": error is None, "message": "", "kind": "passed"}
        self.has_passed |= error is None
        if error is not None:
            ours = isinstance(error, AssertionError) and error is not self.link.error
            result["kind"] = "failed" if ours else "error"
            result["message"] = self.message(error)[:4000]
            if self.link.raised is not None:
                result["traceback"] = self.link.raised
        self.link.raised = self.link.error = None
        sys.stdout.flush()
        self.door(b"D" + json.dumps(result).encode("utf-8", "replace"))

    def message(self, error):
        if isinstance(error, (ProgramEnded, NothingJudged, NotUsed, Skipped)):
            return str(error)
        if isinstance(error, AssertionError):
            self.link.is_quiet = True
            said = self.link.said()
            text = "; ".join(part for part in (str(error), said) if part) or "the assertion is false"
            self.link.is_quiet = False
            return text
        return told(traceback.format_exception_only(type(error), error)[-1].strip())

    def bind(self, code):
        """Defines, in the tests' namespace, the program's names that the code uses."""
        for name in names_in(code):
            self.is_used |= name in self.names or name == "candidate" and bool(self.entry_point)
            if name in self.namespace:
                continue
            if name in self.names:
                self.namespace[name] = self.value(name)
            elif name == "candidate" and self.entry_point:
                self.namespace[name] = self.value(self.entry_point)
            elif name == "patch":
                mirror_patches_once(self.link)

    def value(self, name):
        kind = self.names.get(name)
        if kind == "f":
            return self.link.function(name)
        if kind == "a":
            return self.link.coroutine_function(name)
        if kind == "c" and name[:1].isupper() and "_" not in name and name != self.entry_point:
            self.link.tested.add(name)
        if kind == "m":
            remote = self.link.name(name)
            module = remote._description[2] if isinstance(remote, Remote) else ""
            try:
                return __import__(str(module), fromlist=["x"])
            except Exception:
                return remote
        if kind is None:
            if name.isidentifier() and "Solution" not in self.names:
                raise NameError("the program defines no " + repr(name))
            return self.link.function(name)
        value = self.link.name(name)
        # Plain data counts as used when it is read; functions and classes when they are called.
        self.link.uses += not isinstance(value, Remote)
        return value

    def parsed(self, source):
        """Parses a test source, and prepares the modules that it imports."""
        linecache.cache[TESTS] = (len(source), None, source.splitlines(True), TESTS)
        tree = ast.parse(source, TESTS)
        imports = find_imports(tree)
        if imports:
            self.take_imports(imports)
        return tree

    def take_imports(self, imports):
        """Notes the module names by which the tests import the program; prepares pytest and unittest if they are imported."""
        for module, names in imports:
            root = module.partition(".")[0]
            if root == "pytest":
                install_pytest(self)
            elif root == "unittest":
                quiet_unittest(self)
                mirror_patches_once(self.link)
            elif root in MODULES or (names and all(name in self.names for name in names)):
                if module in sys.modules or module in self.modules or is_installed(root):
                    continue
                if not self.modules:
                    sys.meta_path.append(ProgramModule(self))
                self.modules.add(module)

    def prepared(self, setup):
        if not setup.strip():
            return True
        try:
            tree = self.parsed(setup)
            instrument(tree)
            self.execute(tree)
        except BaseException as error:
            self.report("setup", error)
            return False
        return True

    def execute(self, tree):
        code = compile(tree, TESTS, "exec", dont_inherit=True)
        self.bind(code)
        exec(code, self.namespace)

    def begin(self):
        self.link.last = self.link.raised = self.link.error = None

    def guarded(self, name, action, needs_check=True):
        """Runs one test and reports it; returns whether it passed."""
        self.begin()
        self.checks.swallowed = None
        before = self.checks.count
        try:
            action()
            self.checks.settle()
            if needs_check and self.checks.count == before:
                raise NothingJudged
        except BaseException as error:
            self.report(name, error)
            return False
        self.report(name)
        return True

    def entry(self, text):
        """Runs one entry of a list of tests: statements, and the test functions and classes that it defines."""
        self.begin()
        self.checks.swallowed = None
        before = self.checks.count
        tests = ()
        try:
            if text.startswith("assert ") and "\n" not in text and plain_line(text):
                # The fast path: most entries are one assertion.
                code = compile(text, TESTS, "exec", dont_inherit=True)
                self.bind(code)
                exec(code, self.namespace)
                self.checks.one()
            else:
                tree = self.parsed(text)
                tests = tests_in(tree)
                if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
                    self.expression(tree)
                else:
                    instrument(tree)
                    self.execute(tree)
                    if "check" in tests and self.entry_point and not calls(text, "check"):
                        self.is_used = True
                        self.namespace["check"](self.value(self.entry_point))
            self.checks.settle()
            count = self.checks.count - before
            ran = self.collected(tests, text) if tests else 0
            if count == 0 and not ran:
                raise NothingJudged
        except BaseException as error:
            self.report(text, error)
            return
        if count:
            self.report(text)

    def expression(self, tree):
        """Runs an entry that is one expression: a call that asserts, or an expression whose boolean value is the result."""
        if truth(tree.body[0].value) is True:
            raise NothingJudged
        instrument(tree)
        before = self.checks.count
        code = compile(ast.Expression(tree.body[0].value), TESTS, "eval", dont_inherit=True)
        self.bind(code)
        value = eval(code, self.namespace)
        if self.checks.count == before and type(value).__name__ in ("bool", "bool_"):
            self.checks.one()
            if not value:
                raise AssertionError("it is false")

    def collected(self, names, source):
        """Runs the test functions and classes of those names; returns the number of tests."""
        ran = 0
        for name in names:
            value = self.namespace.get(name)
            if isinstance(value, type):
                ran += run_class(self, name, value)
            elif isinstance(value, types.FunctionType) and name.startswith("test") and not calls(source, name):
                ran += run_function(self, name, value)
        return ran

    def script(self, source):
        """Runs a test source: a `check(candidate)` function, test functions and classes, or statements."""
        entry_point = self.entry_point
        try:
            if len(source) > LONG:
                linecache.cache[TESTS] = (len(source), None, source.splitlines(True), TESTS)
                self.take_imports(imports_of_lines(source))
                code = compile(source, TESTS, "exec", dont_inherit=True)
                count_by_lines(code, source, self.checks)
                tests = [name for name in code.co_names if name == "check" or name.lower().startswith("test")]
                tests += [c.co_name for c in code.co_consts if isinstance(c, types.CodeType) and c.co_name not in tests]
            else:
                tree = self.parsed(source)
                tests = tests_in(tree)
                split(source, tree)
                code = compile(tree, TESTS, "exec", dont_inherit=True)
            self.bind(code)
        except BaseException as error:
            self.report("tests", error)
            return
        self.shown = 0
        has_check = "check" in tests
        name = "check(" + str(entry_point) + ")" if has_check else "tests"
        self.begin()
        self.checks.swallowed = None
        before = self.checks.count
        try:
            exec(code, self.namespace)
            if has_check and not calls(source, "check"):
                if not entry_point:
                    raise ValueError("the tests define check(candidate), but no entry_point says what to call it with")
                self.is_used = True
                self.namespace["check"](self.value(entry_point))
            self.checks.settle()
            count = self.checks.count - before
            self.shown += self.collected(tests, source)
            if not self.shown and not count:
                raise NothingJudged
        except BaseException as error:
            self.report(name, error)
            return
        if not self.shown:
            self.report(name)

    def table(self, entry_point, rows):
        for i, row in enumerate(rows):
            args, kwargs = row.get("args", []), row.get("kwargs", {})
            name = row.get("name") or entry_point + "(" + ", ".join(short(a, 60) for a in args) + ")"

            def action():
                got = self.link.call(entry_point, tuple(args), kwargs)
                if not equal(got, row["expected"], row.get("atol", 0), True):
                    raise AssertionError("expected " + short(row["expected"]))
            self.guarded(name, action, False)

    def checker(self, job):
        """Runs the record's checker on an output. It returns a boolean, or a pair of a boolean and a sentence."""
        def action():
            namespace = {"__name__": "checker", "__builtins__": builtins}
            exec(compile(job["checker"], "checker.py", "exec", dont_inherit=True), namespace)
            if not callable(namespace.get("check")):
                raise ValueError("the checker defines no check(stdin, stdout, expected)")
            answer = namespace["check"](job["stdin"], job["stdout"], job["expected"])
            why = "the checker refuses it"
            if isinstance(answer, tuple) and len(answer) == 2:
                answer, why = answer[0], str(answer[1])
            if not isinstance(answer, bool):
                raise TypeError("the checker has to answer True or False, not " + repr(answer))
            if not answer:
                raise AssertionError(why)
        self.guarded("checker", action, False)

    def reference(self, job):
        """Compares the program's results with those of a reference solution for given inputs, as EvalPlus does."""
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
                self.report("reference(" + ", ".join(self.link.short(a, 60) for a in args) + ")", error)
                return

            def check():
                got = self.link.call(entry_point, tuple(args), {})
                if not self.same(job.get("rule"), entry_point, args, got, expected, atol, namespace):
                    raise AssertionError("expected " + self.link.short(expected))
            self.link.last = self.link.raised = None
            try:
                check()
                passed += 1
            except BaseException as error:
                self.report(entry_point + "(" + ", ".join(self.link.short(a, 60) for a in args) + ")", error)
                return
        # Without an input, no result was compared.
        self.report(str(passed) + " inputs of " + entry_point, None if passed else NothingJudged())

    def same(self, rule, entry_point, args, got, expected, atol, namespace):
        if rule == "set":
            return set(got) == set(expected)
        if rule == "not_none":
            return (got is not None) == (expected is not None)
        if rule == "zero":
            return got == expected or abs(namespace["poly"](*args, got)) <= atol
        return equal(got, expected, atol)
