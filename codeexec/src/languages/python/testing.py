"""Finds, runs and counts tests. A test in which no comparison was evaluated has judged nothing.

A comparison is an `assert`, a call of a function whose name begins with `assert` or `fail`, `pytest.raises`, an `if` that raises,
or a handler of an exception that the test requires. It counts when it is reached. A comparison that fails makes the test fail,
even if the test catches its own failure and continues.
"""

import ast
import linecache
import re
import sys
import types

PATCHED = []
LOAD = ast.Load()


class NothingJudged(Exception):
    """No comparison was reached."""

    def __init__(self):
        super().__init__("no test was reached: no comparison was evaluated (an assertion, a unittest method), so nothing was judged")


class NotUsed(Exception):
    """No test uses the program."""

    def __init__(self, is_named=False):
        super().__init__("the tests never call the program, so nothing was judged" if is_named else
                         "the tests use nothing that the program defines, so nothing was judged")


class Skipped(Exception):
    """A test that is skipped, or marked as expected to fail."""


class Checks:
    """Counts the comparisons that were reached, and records a failure that the tests caught themselves."""

    def __init__(self, link, tests):
        self.count = 0
        self.link = link
        self.tests = tests
        self.swallowed = None
        self.left = None
        # For each `with` that was entered: whether its context manager is an object of the program.
        self.contexts = []

    def one(self):
        self.count += 1

    def entering(self):
        """Called before a `with` whose context manager may suppress an exception of the block."""
        self.left = None
        self.contexts.append(False)

    def context(self, value):
        """Notes whether a context manager is the program's. Such a one may suppress exceptions, but no failed assertion."""
        if self.contexts and hasattr(type(value), "_codeexec_handle"):
            self.contexts[-1] = True
        return value

    def leaving(self):
        self.left = sys.exc_info()[1]

    def stayed(self):
        """Called after such a `with`: if the block raised an exception, the context manager has suppressed it."""
        error, self.left = self.left, None
        is_programs = bool(self.contexts) and self.contexts.pop()
        if error is not None and (isinstance(error, AssertionError) or not is_programs):
            self.caught_any(error)

    def truth(self, value):
        """Checks the value of `assert value, 2`, which compares nothing with 2: the value must be a boolean."""
        if type(value).__name__ not in ("bool", "bool_"):
            raise ValueError("`assert a, b` asserts only a, and b is its message; write `assert a == b`")
        return value

    def caught(self, error=None):
        """Called in a handler that judges nothing: an exception that the tests raised themselves is a failure."""
        error = error or sys.exc_info()[1]
        if self.swallowed is None and self.is_own(error):
            self.swallowed = AssertionError("the tests caught their own failure" + (": " + str(error) if str(error) else ""))

    def is_own(self, error):
        if error is None or error is self.link.error:
            return False
        if isinstance(error, AssertionError):
            return True
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return (trace is not None and trace.tb_frame.f_code.co_filename == self.tests
                and re.search(r"\braise\b", linecache.getline(self.tests, trace.tb_lineno)) is not None)

    def caught_any(self, error=None):
        """Called in a broad handler: an exception that the program raised inside an assertion is a failure as well."""
        error = error or sys.exc_info()[1]
        self.caught(error)
        if self.swallowed is None and error is not None and (error is self.link.error or isinstance(error, ProgramEnded)):
            line = None
            trace = error.__traceback__
            while trace is not None:
                if trace.tb_frame.f_code.co_filename == self.tests:
                    line = linecache.getline(self.tests, trace.tb_lineno)
                trace = trace.tb_next
            if line is not None and re.search(r"\bassert|^\s*(el)?if\b", line):
                told = "the program raised " + type(error).__name__ + " in an assertion, and the tests caught it: " + str(error)
                self.swallowed = AssertionError(told)

    def settle(self):
        """Raises the failure that the tests have caught, if there is one."""
        error, self.swallowed = self.swallowed, None
        self.contexts.clear()
        if error is not None:
            raise error

    def always(self, what):
        raise AlwaysTrue(what)

    def counted(self, function):
        """Counts a call of a function that asserts, unless it is a mock, a function of the program, or a function of the
        tests, whose own comparisons are counted."""
        is_own = getattr(getattr(function, "__code__", None), "co_filename", None) == self.tests
        is_mock = any(kind.__name__ == "NonCallableMock" for kind in type(function).__mro__)
        if not is_own and not is_mock and not getattr(function, "__codeexec_remote__", False) and not hasattr(type(function), "_codeexec_handle"):
            self.count += 1
        return function


def calls(source, name):
    """Whether a line of a source begins, without indentation, with a call of a function."""
    return any(line.startswith(name + "(") for line in source.splitlines())


def tests_in(tree):
    """Names of the top-level functions and classes that may contain tests; `if` blocks are searched too."""
    names = []
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            names.append(statement.name)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if statement.name.startswith("test") or statement.name == "check":
                names.append(statement.name)
        elif isinstance(statement, ast.If):
            names += tests_in(statement)
    return names


def find_imports(tree):
    """Modules that a source imports, each with the names imported from it."""
    found = []
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            found += [(alias.name, ()) for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            found.append((statement.module or "solution", [alias.name for alias in statement.names]))
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Try, ast.If, ast.With)):
            found += find_imports(statement)
    return found


def imports_of_lines(source):
    found = []
    for line in source.splitlines():
        match = re.match(r"\s*(?:from\s+([\w.]+)\s+import\s+(.*)|import\s+([\w.]+))", line)
        if match:
            names = re.findall(r"\w+", match[2] or "")
            found.append((match[1] or match[3], names))
    return found


def is_installed(root):
    import importlib.machinery
    return root in sys.builtin_module_names or importlib.machinery.PathFinder.find_spec(root) is not None


def at(place, node):
    """Gives a new node the location of the node `place`.

    `ast.fix_missing_locations` visits every node of the tests: an eighth of the processor time of HumanEval's verdicts.
    """
    node.lineno, node.col_offset = place.lineno, place.col_offset
    node.end_lineno, node.end_col_offset = place.end_lineno, place.end_col_offset
    return node


def call(name, place, *args):
    """A statement that calls `name`, at the location of the node `place`; `args` have locations."""
    return at(place, ast.Expr(at(place, ast.Call(at(place, ast.Name(name, LOAD)), list(args), []))))


def instrument(tree):
    """Changes a syntax tree so that every comparison is counted when it is reached."""
    tree.body = block(tree.body)


def block(statements):
    out = []
    for statement in statements:
        kind = type(statement)
        if kind is ast.Assert:
            out += before_assert(statement)
        elif kind is ast.Expr or kind is ast.Assign or kind is ast.Return:
            wrap(statement.value)
        elif kind is ast.If:
            if truth(statement.test) is None and (demands(statement.body) or demands(statement.orelse)):
                out.append(call("__codeexec_count__", statement))
            statement.body, statement.orelse = block(statement.body), block(statement.orelse)
        elif kind is ast.Try or kind.__name__ == "TryStar":
            handlers(statement)
            for name in ("body", "orelse", "finalbody"):
                setattr(statement, name, block(getattr(statement, name)))
            if kind is ast.Try and jumps(statement.finalbody) and all(handler.type is not None for handler in statement.handlers):
                place = statement.body[0]
                told = [call("__codeexec_caught_any__", place), at(place, ast.Raise())]
                statement.handlers.append(at(place, ast.ExceptHandler(None, None, told)))
        elif kind is ast.With or kind is ast.AsyncWith:
            may_end = any(may_swallow(item) for item in statement.items)
            for item in statement.items:
                wrap(item.context_expr)
            statement.body = block(statement.body)
            if may_end:
                for item in statement.items:
                    made = item.context_expr
                    item.context_expr = at(made, ast.Call(at(made, ast.Name("__codeexec_context__", LOAD)), [made], []))
                place = statement.body[0]
                told = [call("__codeexec_leaving__", place), at(place, ast.Raise())]
                handler = at(place, ast.ExceptHandler(at(place, ast.Name("BaseException", LOAD)), None, told))
                statement.body = [at(place, ast.Try(statement.body, [handler], [], []))]
                out += [call("__codeexec_entering__", statement), statement, call("__codeexec_stayed__", statement)]
                continue
        elif kind is ast.Match:
            for case in statement.cases:
                case.body = block(case.body)
        else:
            for name in ("body", "orelse"):
                inner = getattr(statement, name, None)
                if isinstance(inner, list):
                    setattr(statement, name, block(inner))
        out.append(statement)
    return out


def before_assert(statement):
    """The statements to insert before an assertion. If its message is a number, its value must be a boolean."""
    what = assertion(statement.test)
    if what == "nothing":
        return []
    if what is not None:
        return [call("__codeexec_always__", statement, at(statement, ast.Constant(what)))]
    if statement.msg is not None and told_number(statement.msg) and isinstance(statement.test, ast.Call):
        answer = at(statement, ast.Name("__codeexec_truth__", LOAD))
        statement.test = at(statement, ast.Call(answer, [statement.test], []))
    return [call("__codeexec_count__", statement)]


def name_of(function):
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def wrap(value):
    """Changes a call of a function that asserts so that the call is counted."""
    if isinstance(value, ast.Await):
        value = value.value
    if isinstance(value, ast.Call) and re.match("_?(assert|fail)", name_of(value.func)):
        function = value.func
        if judges_nothing(name_of(function), value.args):
            return
        if re.match("_?assert_?(true|false)$", name_of(function).lower()) and len(value.args) > 1 and told_number(value.args[1]):
            answer = at(function, ast.Name("__codeexec_truth__", LOAD))
            value.args[0] = at(function, ast.Call(answer, [value.args[0]], []))
        counted = at(function, ast.Name("__codeexec_counted__", LOAD))
        value.func = at(function, ast.Call(counted, [function], []))


def demands(statements):
    """Whether a block makes the test fail: it raises, asserts, calls `fail` or exits."""
    for statement in statements:
        if isinstance(statement, (ast.Raise, ast.Assert)):
            return True
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            if re.match("_?(assert|fail)|exit$|_exit$|abort$", name_of(statement.value.func)):
                return True
    return False


def demands_anywhere(handler):
    """Whether a handler raises, asserts, calls `fail` or exits at any depth."""
    for node in ast.walk(handler):
        if isinstance(node, (ast.Raise, ast.Assert)):
            return True
        if isinstance(node, ast.Call) and re.match("_?(assert|fail)|exit$|_exit$|abort$", name_of(node.func)):
            return True
    return False


def handlers(statement):
    """Instruments handlers: one that the test needs to pass is counted; one that judges nothing reports what it caught."""
    in_body, in_else = demands(statement.body), demands(statement.orelse)
    for handler in statement.handlers:
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        # A handler that also catches a failed assertion requires nothing.
        is_narrow = all(kind is not None and name_of(kind) not in ("Exception", "BaseException", "AssertionError")
                        for kind in kinds)
        judges = demands_anywhere(handler)
        handler.body = block(handler.body)
        if not judges:
            # The program can raise the same classes of exceptions as the block itself.
            raised = {name_of(getattr(node.exc, "func", node.exc)) for part in statement.body for node in ast.walk(part)
                      if isinstance(node, ast.Raise) and node.exc is not None}
            if any(isinstance(node, ast.Assert) for part in statement.body for node in ast.walk(part)):
                raised.add("AssertionError")
            is_broad = any(kind is None or name_of(kind) in raised | {"Exception", "BaseException"} for kind in kinds)
            handler.body.insert(0, call("__codeexec_caught_any__" if is_broad else "__codeexec_caught__", handler.body[0]))
        if in_else or in_body and is_narrow:
            handler.body.insert(0, call("__codeexec_count__", handler.body[0]))


def split(source, tree):
    """Makes each top-level assert of a source and of its `check` function a separate test: it is reported, and its failure
    does not stop the next ones. Other comparisons are counted."""
    lines = source.splitlines()

    def parted(statements):
        out = []
        for statement in statements:
            if isinstance(statement, ast.Assert):
                name = "\n".join(lines[statement.lineno - 1:statement.end_lineno]).strip()
                before = before_assert(statement)
                # An assert that judges nothing stays unchanged and is not reported.
                out.append(wrapped(statement, name, before) if before else statement)
            elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement.name == "check" \
                    and statements is tree.body:
                statement.body = parted(statement.body)
                out.append(statement)
            else:
                out += block([statement])
        return out
    tree.body = parted(tree.body)


def wrapped(statement, name, before):
    """An assertion with its own result. A `with` has half of the nodes of a `try` that does the same: the compiler's time for them
    is a part of every verdict."""
    is_always = name_of(before[0].value.func) == "__codeexec_always__"
    made = at(statement, ast.Call(at(statement, ast.Name("__codeexec_case__", LOAD)), [at(statement, ast.Constant(name))], []))
    return at(statement, ast.With([ast.withitem(made)], before * is_always + [statement]))


def count_by_lines(code, source, checks):
    """Counts comparisons in a source that is too long to instrument: a line that begins with an assertion counts when it runs."""
    lines = {i + 1 for i, line in enumerate(source.splitlines())
             if re.match(r"\s*(assert\b|(\w+\.)*(assert|fail)\w*\()", line)}
    monitoring = sys.monitoring
    monitoring.use_tool_id(monitoring.PROFILER_ID, "codeexec")

    def reached(code, line):
        if line in lines:
            checks.one()
        return monitoring.DISABLE
    monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.LINE, reached)

    def watch(code):
        monitoring.set_local_events(monitoring.PROFILER_ID, code, monitoring.events.LINE)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                watch(constant)
    watch(code)


def mirror_patches_once(link):
    if not PATCHED:
        PATCHED.append(link)
        mirror_patches(link)


def exception_watch():
    """Prepares, before the snapshot, what makes the tests' own exceptions a failure if they end in a thread, in
    `contextlib.suppress`, in a future or in a task. The function that is returned starts it."""
    import asyncio
    import concurrent.futures
    import contextlib
    import threading
    futures, loops, suppress = concurrent.futures.Future, asyncio.BaseEventLoop, contextlib.suppress
    plain_hook, plain_exit, plain_set = threading.excepthook, suppress.__exit__, futures.set_exception
    plain_gather, plain_told = asyncio.gather, loops.call_exception_handler
    checks = None

    def told(args):
        checks.caught_any(args.exc_value)
        plain_hook(args)

    def left(self, kind, error, trace):
        is_caught = plain_exit(self, kind, error, trace)
        if is_caught:
            is_broad = any(asked in (Exception, BaseException, AssertionError) for asked in self._exceptions)
            (checks.caught_any if is_broad else checks.caught)(error)
        return is_caught

    def set_exception(self, error):
        checks.caught_any(error)
        plain_set(self, error)

    def gather(*awaited, return_exceptions=False):
        future = plain_gather(*awaited, return_exceptions=return_exceptions)
        if return_exceptions:
            def look(done):
                if not done.cancelled() and done.exception() is None:
                    for result in done.result():
                        if isinstance(result, BaseException):
                            checks.caught_any(result)
            future.add_done_callback(look)
        return future

    def handled(self, context):
        if context.get("exception") is not None:
            checks.caught_any(context["exception"])
        plain_told(self, context)

    def watch(to):
        nonlocal checks
        checks = to
        threading.excepthook = told
        # The harness's threads call this hook on `SystemExit`, which ends a thread of CPython silently.
        threading.exithook = checks.caught_any
        suppress.__exit__ = left
        futures.set_exception, asyncio.gather, loops.call_exception_handler = set_exception, gather, handled
    return watch


watch_exceptions = exception_watch()


def quiet_unittest(judge):
    """Makes `unittest.main()` do nothing: the judge runs the test classes afterwards."""
    import unittest
    unittest.main = unittest.TestProgram = lambda *args, **kwargs: None


def run_class(judge, name, kind):
    import unittest
    if issubclass(kind, unittest.TestCase):
        return run_unittest(judge, name, kind)
    methods = [m for m in vars(kind) if m.startswith("test") and callable(getattr(kind, m))]
    if not methods or not (name.startswith("Test") or name.endswith(("Test", "Tests"))) or kind.__init__ is not object.__init__:
        return 0
    ran = 0
    for method in methods:
        made = kind()
        function = getattr(made, method)

        def before(made=made, function=function):
            for hook in ("setup_method", "setUp", "setup"):
                if hasattr(made, hook):
                    given = (function,) if hook == "setup_method" and getattr(made, hook).__code__.co_argcount > 1 else ()
                    getattr(made, hook)(*given)
        ran += run_function(judge, name + "." + method, function, before, made)
    return ran


def run_unittest(judge, name, kind):
    import unittest

    class Result(unittest.TestResult):
        def startTest(self, test):
            super().startTest(test)
            judge.begin()
            judge.checks.swallowed = None
            self.before = judge.checks.count
            self.is_told = False

        def told(self, test, error=None):
            if error is None and judge.checks.count == getattr(self, "before", 0):
                error = NothingJudged()
            if error is None:
                error, judge.checks.swallowed = judge.checks.swallowed, None
            self.is_told = True
            judge.report(name + "." + str(getattr(test, "_testMethodName", test)), error)

        def addSuccess(self, test):
            if not self.is_told:
                self.told(test)

        def addError(self, test, error):
            self.told(test, error[1])

        addFailure = addError

        def addSubTest(self, test, subtest, error):
            if error is not None:
                self.told(test, error[1])

        def addSkip(self, test, reason):
            self.told(test, Skipped("the test was skipped: " + str(reason)))

        def addExpectedFailure(self, test, error):
            self.told(test, Skipped("the test is expected to fail, so it judges nothing"))

        def addUnexpectedSuccess(self, test):
            self.told(test, AssertionError("it passed, and a failure was expected"))
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(kind)
    count = suite.countTestCases()
    if count:
        suite.run(Result())
    return count
