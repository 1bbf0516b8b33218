//! Attacks on the limits of time, memory, stack and output.

use super::{Attack, product};

pub fn all() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let consumers = [
        "sum(@)",
        "max(@)",
        "list(@)",
        "set(@)",
        "any(x is None for x in @)",
        "(lambda d: d)(__import__('collections').deque(@, 0))",
        "[0 for _ in @]",
        "-1 in (x for x in @)",
    ];
    let endless = [
        "iter(int, 1)",
        "itertools.count()",
        "itertools.cycle([1, 2])",
        "itertools.repeat(0)",
        "(i for i in itertools.count())",
        "map(abs, itertools.count())",
        "zip(itertools.count(), itertools.count())",
        "filter(None, itertools.repeat(0))",
        "range(10**15)",
    ];
    for (i, consumer) in consumers.iter().enumerate() {
        for (j, source) in endless.iter().enumerate() {
            let expression = consumer.replace('@', source);
            let code = if (i + j) % 2 == 0 {
                format!("import itertools\n{expression}\ndef f(x): return 0")
            } else {
                format!("import itertools\ndef f(x):\n    return {expression}")
            };
            attacks.push(Attack { language: "python", class: "loop", name: format!("loop-{i}-{j}"), code });
        }
    }
    attacks.extend(product(
        "memory",
        &[
            "x = []\nwhile True: x.append(@)\ndef f(x): return 0",
            "def f(x):\n    y = [@]\n    while True: y = y + y",
            "def f(x):\n    d = {}\n    i = 0\n    while True:\n        d[i] = @\n        i += 1",
            "class A: pass\ndef f(x):\n    a = None\n    while True:\n        b = A(); b.n = a; b.v = @; a = b",
            "def g():\n    while True: yield @\ndef f(x):\n    return tuple(g())",
            "import collections\nq = collections.deque()\ndef f(x):\n    while True: q.append((@, x))",
        ],
        &[
            "b'x' * 10**6",
            "'x' * 10**6",
            "[0] * 10**5",
            "bytearray(10**6)",
            "(0,) * 10**5",
            "list(range(10**4))",
            "{i: i for i in range(10**4)}",
            "set(range(10**4))",
            "1 << 10**6",
            "str(10**4000)",
            "__import__('array').array('d', [0]) * 10**5",
            "memoryview(bytes(10**6))",
        ],
    ));
    attacks.extend(product(
        "recursion",
        &["@", "import sys\nsys.setrecursionlimit(5000)\n@", "import sys\nsys.setrecursionlimit(10**6)\n@", "import sys\nsys.setrecursionlimit(2**31 - 1)\n@"],
        &[
            "def f(x): return f(x + 1)",
            "f = lambda x: f(x)",
            "class A:\n    def __getattr__(self, n): return getattr(self, n + 'x')\ndef f(x): return A().y",
            "class A:\n    def __repr__(self): return repr(self)\ndef f(x): return repr(A())",
            "class A:\n    def __eq__(self, o): return self == o\ndef f(x): return A() == A()",
            "class A:\n    def __hash__(self): return hash(self)\ndef f(x): return {A(): 1}",
            "import functools\n@functools.lru_cache(None)\ndef f(x): return f(x + 1)",
            "def f(x):\n    l = []\n    for _ in range(200000): l = [l]\n    return repr(l)",
            "import copy\ndef f(x):\n    l = []\n    for _ in range(100000): l = [l]\n    return copy.deepcopy(l)",
            "import json\ndef f(x): return json.loads('[' * 200000)",
            "def f(x): return eval('(' * 100000 + ')' * 100000)",
            "def f(x): return eval('-' * 200000 + '1')",
            "import pickle\ndef f(x):\n    l = []\n    for _ in range(100000): l = [l]\n    return len(pickle.dumps(l))",
            "def g(): yield from g()\ndef f(x): return list(g())",
            "import ast\ndef f(x): return ast.literal_eval('[' * 50000 + ']' * 50000)",
            "class A:\n    def __del__(self): A()\ndef f(x):\n    A()\n    return 0",
            "def f(x):\n    try: return f(x)\n    except RecursionError: return f(x)\n    finally: f(x)",
        ],
    ));
    attacks.extend(product(
        "regex",
        &[
            "import re\ndef f(x): return re.match(@ + '$', 'a' * 40 + '!')",
            "import re\ndef f(x): return re.search(@ + 'b', 'a' * 5000)",
            "import re\nre.fullmatch(@, 'a' * 60 + '!')\ndef f(x): return 0",
            "import re\ndef f(x): return re.sub(@ + '!', '', 'a' * 3000 + '?')",
            "import re\ndef f(x): return re.findall('(?=' + @ + 'c)', 'a' * 4000)",
        ],
        &[
            "'(a+)+'",
            "'(a*)*'",
            "'(a|a)*'",
            "'(a|aa)+'",
            "'(a?){40}a{40}'",
            "'([a-z]+)*'",
            "'(.*a){20}'",
            "'(a+a+)+'",
            "'((a+)+)+'",
            "'(a*a*)*'",
            "'(?:a|b|ab)*'",
            "'(\\\\w+\\\\s?)*'",
            "'(a{1,30}){1,30}'",
        ],
    ));
    attacks.extend(product(
        "integers",
        &[
            "x = @\ndef f(y): return 0",
            "def f(x): return @",
            "def f(x): return str(@)",
            "def f(x): return (@) % 7 + hash(@)",
            "def f(x): return [(@) + i for i in range(5)]",
        ],
        &[
            "10 ** 10 ** 8",
            "2 ** 2 ** 33",
            "1 << 10 ** 9",
            "9 ** 9 ** 9",
            "pow(3, 10 ** 8)",
            "(10 ** 10 ** 6) ** 100",
            "__import__('math').factorial(10 ** 6)",
            "__import__('math').comb(10 ** 7, 5 * 10 ** 6)",
            "int('9' * 4000) ** 20000",
            "(1 << 40000000) * (1 << 40000000) // 3",
            "sum(1 << i for i in range(200000))",
            "__import__('decimal').Decimal(10) ** (10 ** 8) + 1",
            "__import__('fractions').Fraction(1, 3) ** (10 ** 7)",
        ],
    ));
    attacks.extend(product(
        "output",
        &[
            "import sys\nwhile True: sys.stdout.write(@)",
            "import sys\nwhile True: sys.stderr.write(@)",
            "def f(x):\n    while True: print(@)",
            "import os\nwhile True: os.write(1, str(@).encode())",
            "import sys\ndef f(x):\n    while True: sys.__stdout__.buffer.write(str(@).encode('utf-8', 'replace'))",
            "import os\ndef f(x):\n    while True: os.write(2, str(@).encode())",
        ],
        &[
            "'x'",
            "'x' * 10**6",
            "'\\n' * 1000",
            "'\\0' * 1000",
            "'\\u20ac' * 1000",
            "'passed' * 99",
            "'{\"passed\": true}\\n' * 50",
            "repr(list(range(1000)))",
            "'\\x1b[2J' * 100",
            "'a' * 65537",
        ],
    ));
    attacks.extend(product(
        "sleep",
        &[
            "import time\ntime.sleep(@)\ndef f(x): return 0",
            "import time\ndef f(x):\n    time.sleep(@)\n    return 0",
            "import asyncio\nasyncio.run(asyncio.sleep(@))\ndef f(x): return 0",
            "import threading\nthreading.Event().wait(@)\ndef f(x): return 0",
            "import select\nselect.select([], [], [], @)\ndef f(x): return 0",
            "import time\nend = time.monotonic() + @\nwhile time.monotonic() < end: time.sleep(0.01)\ndef f(x): return 0",
        ],
        &["1", "2.5", "60", "3600", "86400", "10**6", "1e7", "0.75", "5", "90"],
    ));
    attacks
}
