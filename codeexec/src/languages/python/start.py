"""Run once, before the snapshot: imports what programs import, so that they find it imported, and makes both halves of the
harness. `SOURCES` stands before this text."""

import gc
import sys
import types


def _harness():
    import importlib
    for name in PRELOAD:
        try:
            importlib.import_module(name)
        except Exception as error:
            print("not preloaded:", name, error, file=sys.stderr)
    # A linter for the judge, and packages that the library lacks.
    for path, name in zip(PATHS, MODULES):
        sys.path.append(path)
        importlib.import_module(name)
        sys.path.remove(path)
    import _host
    harness = types.ModuleType("codeexec_harness")
    space = harness.__dict__
    space["HERE"] = "codeexec_harness.py"
    exec(compile(CONCURRENCY[0], "codeexec_harness.py", "exec"), space)
    space["run_pending"] = space["install_concurrency"]()
    for source in SOURCES:
        exec(compile(source, "codeexec_harness.py", "exec"), space)
    program = space["Program"](_host.call)
    judge = space["Judge"](_host.call)
    sys.modules["codeexec_harness"] = harness
    harness.start = program.start
    harness.step = program.step
    harness.judge = judge.main
    sys.stdout.reconfigure(line_buffering=True)
    sys.setrecursionlimit(1000)
    for name in ("path_importer_cache",):
        getattr(sys, name)
    gc.collect()
    gc.freeze()


_harness()
del _harness, SOURCES, CONCURRENCY, PRELOAD, PATHS, MODULES
