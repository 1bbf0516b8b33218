"""Runs once, before the snapshot: imports the modules that programs use most, and creates both sides of the harness. `SOURCES`
and the other constants are defined before this source."""

import gc
import sys
import types


class DataOfMatplotlib:
    """Writes matplotlib's data files when matplotlib is imported. The library has them as an archive inside its archive, but
    matplotlib opens them as files beside its module.
    """

    HOME = "/tmp/.matplotlib"

    def find_spec(self, name, path=None, target=None):
        if name != "matplotlib":
            return None
        import importlib.machinery
        import os
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or not hasattr(spec.loader, "archive"):
            return spec
        self.place(spec.loader.get_data(spec.loader.archive + "/matplotlib/mpl-data.zip"))
        # The folder in which matplotlib keeps its list of fonts.
        os.environ.setdefault("MPLCONFIGDIR", self.HOME)
        home, run = self.HOME, spec.loader.exec_module

        class Loader:
            def create_module(self, spec):
                return None

            def exec_module(self, module):
                module.__file__ = home + "/__init__.py"
                run(module)
        spec.loader = Loader()
        return spec

    def place(self, archive):
        import io
        import os
        import zipfile
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            for name in files.namelist():
                # Button images, sample data and PostScript fonts are not needed.
                if name.endswith("/") or not name.startswith(("matplotlibrc", "stylelib/", "fonts/ttf/")):
                    continue
                path = self.HOME + "/mpl-data/" + name
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as out:
                    out.write(files.read(name))


def _harness():
    import importlib
    for name in PRELOAD:
        try:
            importlib.import_module(name)
        except Exception as error:
            print("not preloaded:", name, error, file=sys.stderr)
    # The judge's linter, and packages that the library archive lacks.
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
    sys.meta_path.insert(0, DataOfMatplotlib())
    gc.collect()
    gc.freeze()


_harness()
del _harness, DataOfMatplotlib, SOURCES, CONCURRENCY, PRELOAD, PATHS, MODULES
