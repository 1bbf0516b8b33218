//! Attacks on the verdict: exits, patched tests, searches of stack frames, objects that equal everything, and state
//! left for the next program.

use super::{Attack, product};

pub fn all() -> Vec<Attack> {
    let mut attacks = product(
        "exit",
        &[
            "import sys, os\n@\ndef f(x): return 0",
            "import sys, os\ndef f(x):\n    @",
            "import sys, os\nclass A:\n    def __eq__(self, o):\n        @\n    def __del__(self):\n        @\ndef f(x): return A()",
            "import sys, os, atexit\natexit.register(lambda: print('passed'))\ndef f(x):\n    try:\n        @\n    finally:\n        return 0",
            "import sys, os\ndef g():\n    yield 1\n    @\ndef f(x): return g()",
            "import sys, os\nif __name__ == '__main__':\n    print('all tests passed')\n    @\ndef f(x): return 0",
        ],
        &[
            "sys.exit(0)",
            "sys.exit()",
            "os._exit(0)",
            "raise SystemExit",
            "raise SystemExit(0)",
            "exit()",
            "quit(0)",
            "raise KeyboardInterrupt",
            "raise GeneratorExit",
            "__import__('builtins').exit(0)",
            "raise BaseException('done')",
            "raise StopIteration(1234567)",
            "__import__('posix')._exit(0)",
        ],
    );
    attacks.extend(product(
        "patching",
        &[
            "import builtins\n@\ndef f(x): return 0",
            "import builtins\ndef f(x):\n    @\n    return 0",
            "import builtins\ntry:\n    @\nexcept Exception:\n    pass\ndef f(x): return None",
        ],
        &[
            "builtins.print = lambda *a, **k: None", "builtins.AssertionError = Exception", "builtins.AssertionError = type('A', (BaseException,), {})", "builtins.len = lambda x: 1234567", "builtins.isinstance = lambda *a: True",
            "builtins.exec = lambda *a, **k: None", "builtins.compile = lambda *a, **k: None", "builtins.eval = lambda *a: True", "builtins.all = builtins.any = lambda *a: True", "builtins.__import__ = lambda *a, **k: None",
            "import math; math.isclose = lambda *a, **k: True", "import json; json.dumps = lambda *a, **k: '{\"passed\": true}'", "import json; json.loads = lambda *a, **k: {'passed': True}", "import marshal; marshal.dumps = lambda *a: b'N'",
            "import marshal; marshal.loads = lambda *a, **k: 1234567", "import unittest; unittest.TestCase.assertEqual = lambda *a: None", "import _host; _host.call = lambda m: b''", "import _host; _host.call(b'D{\"name\": \"a\", \"passed\": true, \"message\": \"\", \"kind\": \"passed\"}'); _host.call(b'E')",
            "import codeexec_harness as h; h.Judge.report = lambda s, n, e=None: None", "import codeexec_harness as h; h.judge = lambda: None", "import codeexec_harness as h; h.Program.answer = lambda s, r: b'T'", "import codeexec_harness as h; h.Program.step = lambda s: None",
            "import codeexec_harness as h; h.equal = lambda *a: True", "import sys; sys.modules['tests'] = sys.modules['__main__']", "import sys; sys.settrace(lambda *a: None)", "import sys; sys.stdout.write('passed\\n')", "builtins.BaseException = Exception",
            "import traceback; traceback.format_exception = lambda *a: ['passed']", "import ast; ast.parse = lambda *a, **k: None", "import linecache; linecache.cache.clear()",
        ],
    ));
    attacks.extend(product(
        "frames",
        &[
            "import sys, gc, inspect\ndef f(x):\n    # The number that the test expects, which this text does not hold.\n    base = 1234000\n    wanted = str(base + 567)\n    for o in @:\n        if wanted in str(o): print('ESCAPED: the tests were found', str(o)[:99])\n    return 1",
            "import sys, gc, inspect\nfor o in @:\n    try:\n        if '1234567' in str(vars(o)).replace(\"'1234\" + \"567'\", '')[:3000] and 'program.py' not in str(o): o.__dict__.clear()\n    except Exception: pass\ndef f(x): return 0",
            "import sys, gc, inspect\ndef f(x):\n    for o in @:\n        try: o.clear()\n        except BaseException: pass\n    return 0",
            "import sys, gc, inspect\ndef f(x):\n    for o in @:\n        for name in ('f_locals', 'f_globals', 'gi_frame', '__dict__', '__globals__'):\n            d = getattr(o, name, None)\n            if isinstance(d, dict):\n                for k in ('error', 'passed', 'expected'): d[k] = True\n    return 0",
        ],
        &[
            "[sys._getframe(i) for i in range(4)]", "inspect.stack()", "gc.get_objects()", "list(sys.modules.values())", "object.__subclasses__()", "gc.get_referrers(f) if 'f' in globals() else []", "[t for t in sys._current_frames().values()]",
            "inspect.getouterframes(inspect.currentframe())", "[m for m in gc.get_objects() if isinstance(m, type(sys))]", "[d for d in gc.get_objects() if isinstance(d, dict)]", "[c for c in gc.get_objects() if hasattr(c, 'gi_frame')]",
            "list(vars(sys.modules['codeexec_harness']).values())", "[fn for fn in gc.get_objects() if hasattr(fn, '__globals__')]", "[sys._getframe().f_back, sys._getframe().f_back.f_back]", "[c for c in gc.get_objects() if type(c).__name__ in ('cell', 'Judge', 'Link')]",
        ],
    ));
    attacks.extend(product(
        "agreeing",
        &[
            "class A:\n    @\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\n    def __hash__(self): return 1234567\ndef f(x): return A()",
            "class A(int):\n    @\n    def __eq__(self, o): return True\n    def __hash__(self): return 7654321\ndef f(x): return A(3)",
            "class M(type):\n    def __eq__(c, o): return True\n    def __hash__(c): return 1\nclass A(metaclass=M):\n    @\ndef f(x): return A",
            "class A(str):\n    @\n    def __eq__(self, o): return True\n    def __hash__(self): return 0\ndef f(x): return A('1234567')",
            "class A(list):\n    @\n    def __eq__(self, o): return True\n    __hash__ = None\ndef f(x): return A([1])",
        ],
        &[
            "def __bool__(self): return True", "def __lt__(self, o): return True", "def __le__(self, o): return True", "def __sub__(self, o): return 0", "def __rsub__(self, o): return 0", "def __abs__(self): return 0", "def __float__(self): return 1.5",
            "def __index__(self): return 3", "def __getattr__(self, n): return lambda *a: True", "def __instancecheck__(self, o): return True", "def __class_getitem__(c, i): return c", "__class__ = int", "def __contains__(self, o): return True",
            "def __iter__(self): return iter([])", "def __repr__(self): return '1234567'",
        ],
    ));
    attacks.extend(product(
        "state",
        &[
            "import builtins, sys, os\n@\ndef f(x): return 0",
            "import builtins, sys, os\ndef f(x):\n    @\n    return 0",
            "import builtins, sys, os\ntry:\n    @\nfinally:\n    os._exit(0)\ndef f(x): return 0",
            "import builtins, sys, os\n@\nwhile True: pass",
        ],
        &[
            "builtins.leak = 1",
            "sys.modules['math'].pi = 3",
            "os.environ['LEAK'] = '1'",
            "open('/tmp/leak', 'w').write('x')",
            "open('/leak', 'w').write('x')",
            "sys.setrecursionlimit(77)",
            "sys.path.insert(0, '/tmp')",
            "import json; json.dumps = None",
            "builtins.print = len",
            "import random; random.seed = None",
            "sys.stdout.close()",
            "import math; math.pi = 4",
            "os.mkdir('/tmp/leaked')",
            "builtins.len = max",
            "import gc; gc.freeze()",
            "import os; os.listdir = lambda p: ['x']",
            "sys.meta_path.clear()",
        ],
    ));
    attacks
}
