"""The part of pytest that tests use: `raises`, `approx`, marks, fixtures, and the run of a test function."""

import re
import sys
import types


def install_pytest(judge):
    if "pytest" in sys.modules:
        return
    module = types.ModuleType("pytest")
    module.__dict__.update(raises=lambda *args, **kwargs: raises(judge, *args, **kwargs), approx=Approx, mark=Marks(),
                           fixture=fixture, fail=fail, skip=skip, param=Param, importorskip=__import__, xfail=skip,
                           main=lambda *args, **kwargs: 0)
    module.skip.Exception, module.fail.Exception = Skipped, AssertionError
    sys.modules["pytest"] = module


def fail(reason="", pytrace=True, msg=""):
    raise AssertionError(reason or msg)


def skip(reason="", **_):
    raise Skipped("the test was skipped: " + str(reason))


class Param:
    def __init__(self, *values, id=None, marks=()):
        self.values = values


class Marks:
    def __getattr__(self, name):
        def mark(*args, **kwargs):
            def decorate(function):
                function.__dict__.setdefault("__codeexec_marks__", []).append((name, args, kwargs))
                return function
            is_bare = len(args) == 1 and not kwargs and callable(args[0]) and name != "parametrize"
            if is_bare:
                function, args = args[0], ()
                return decorate(function)
            return decorate
        return mark


def fixture(function=None, **options):
    def decorate(function):
        function.__codeexec_fixture__ = options
        return function
    return decorate if function is None else decorate(function)


class Raises:
    def __init__(self, expected, match, checks):
        self.expected, self.match, self.checks = expected, match, checks
        self.value = self.type = self.tb = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            raise AssertionError("DID NOT RAISE " + str(self.expected))
        # `raises(Exception)` does not accept a failed assertion of the tests themselves.
        is_failure = self.expected in (Exception, BaseException) and issubclass(kind, AssertionError) and self.checks.is_own(value)
        if is_failure or not issubclass(kind, self.expected):
            return False
        self.type, self.value, self.tb = kind, value, traceback
        if self.match is not None and not re.search(self.match, str(value)):
            raise AssertionError("the message %r does not match %r" % (str(value), self.match))
        return True


def raises(judge, expected, *args, match=None, **kwargs):
    judge.checks.one()
    context = Raises(expected, match, judge.checks)
    if not args:
        return context
    with context:
        args[0](*args[1:], **kwargs)
    return context


class Approx:
    """Equality of numbers within a tolerance, as in pytest's `approx`."""

    def __init__(self, expected, rel=None, abs=None, nan_ok=False):
        self.expected, self.rel, self.abs, self.nan_ok = expected, rel, abs, nan_ok

    __array_ufunc__ = None
    __hash__ = None

    def __eq__(self, got):
        return self.same(got, self.expected)

    def same(self, got, expected):
        if isinstance(expected, dict):
            return isinstance(got, dict) and got.keys() == expected.keys() and all(
                self.same(got[k], expected[k]) for k in expected)
        if type(expected).__name__ == "ndarray" or isinstance(expected, (list, tuple)):
            if type(got).__name__ != "ndarray" and not isinstance(got, (list, tuple)) or len(got) != len(expected):
                return False
            return all(self.same(g, e) for g, e in zip(got, expected))
        if isinstance(expected, (bool, str, type(None))) or isinstance(got, (str, type(None))):
            return got == expected
        if hasattr(type(got), "_codeexec_handle"):
            return False
        try:
            if got == expected:
                return True
            if expected != expected:
                return self.nan_ok and got != got
            least = 1e-12 if self.abs is None else self.abs
            part = (1e-6 if self.rel is None else self.rel) * abs(expected) if self.rel is not None or self.abs is None else 0
            return bool(abs(got - expected) <= max(least, part))
        except TypeError:
            return False

    def __repr__(self):
        return "approx(%r)" % (self.expected,)


class Captured:
    """pytest's `capsys`: captures what is printed while a test runs."""

    def __init__(self):
        import io
        self.before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()

    def readouterr(self):
        import io
        said = Output(sys.stdout.getvalue(), sys.stderr.getvalue())
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
        return said

    def end(self):
        sys.stdout, sys.stderr = self.before


class Output(tuple):
    def __new__(cls, out, err):
        made = super().__new__(cls, (out, err))
        made.out, made.err = out, err
        return made


def cases_of(function):
    """Yields the arguments of each call that `parametrize` requests."""
    import itertools
    axes = []
    for name, args, kwargs in getattr(function, "__codeexec_marks__", ()):
        if name == "parametrize":
            names = args[0] if len(args) > 0 else kwargs["argnames"]
            values = args[1] if len(args) > 1 else kwargs["argvalues"]
            names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
            rows = []
            for value in values:
                value = value.values if isinstance(value, Param) else (value,) if len(names) == 1 else tuple(value)
                rows.append(dict(zip(names, value)))
            axes.append(rows)
    for parts in itertools.product(*reversed(axes)):
        yield {name: value for part in parts for name, value in part.items()}


def run_function(judge, name, function, before=None, owner=None):
    """Calls a test function as pytest does; returns the number of calls."""
    import inspect
    plain = inspect.unwrap(function)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.kind in (0, 1, 3) and p.default is p.empty]
    marks = getattr(plain, "__codeexec_marks__", ())
    refusal = next((m for m in marks if m[0] == "skip" or m[0] == "skipif" and m[1] and m[1][0]), None)
    ran = 0
    for case in cases_of(plain):
        label = name if not case else name + "[" + "-".join(judge.link.short(v, 30) for v in case.values()) + "]"

        def action():
            if refusal:
                raise Skipped("the test was skipped")
            ends = []
            try:
                if before is not None:
                    before()
                given = {p.name: case[p.name] if p.name in case else fixed(judge, p.name, owner, ends, {}) for p in parameters}
                result = function(**given)
                if inspect.iscoroutine(result):
                    import asyncio
                    asyncio.run(result)
            finally:
                for end in reversed(ends):
                    end()
        judge.guarded(label, action)
        ran += 1
    return ran


def fixed(judge, name, owner, ends, made):
    """The value of the fixture `name`. `ends` collects the clean-up functions, `made` the fixtures made so far."""
    import inspect
    if name in made:
        return made[name]
    if name == "capsys":
        captured = Captured()
        ends.append(captured.end)
        return captured
    maker = getattr(owner, name, None) if owner is not None else None
    maker = maker or judge.namespace.get(name)
    if maker is None or not hasattr(inspect.unwrap(maker), "__codeexec_fixture__"):
        raise ValueError("the tests use a fixture " + repr(name) + ", which neither they nor this harness has")
    value = maker(**{p: fixed(judge, p, owner, ends, made) for p in inspect.signature(maker).parameters})
    if inspect.isgenerator(value):
        generator = value
        value = next(generator)
        ends.append(lambda: next(generator, None))
    made[name] = value
    return value
