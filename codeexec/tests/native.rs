//! The native backend: it gives the same verdicts as the sandbox, isolates programs and enforces limits. The tests are
//! skipped if bubblewrap is missing or cannot create namespaces.

use crate::common;

use codeexec::native::{Backend, Native};
use codeexec::record::{Job, Status, Verdict};
use codeexec::run::run_all;
use serde_json::{Value, json};

/// Verdicts of the native backend and of the sandbox; `None` if the native backend does not work here.
fn both(cases: &[Value]) -> Option<(Vec<Verdict>, Vec<Verdict>)> {
    test_support::require(Native::open().map_err(|reason| format!("{reason:#}")))?;
    let jobs: Vec<Job> = cases.iter().map(|value| Job::from_value(value.clone()).unwrap()).collect();
    let native = common::pool(2.0).with_backend(Backend::Native);
    Some((run_all(&native, 2, &jobs).unwrap(), run_all(&common::pool(2.0), 2, &jobs).unwrap()))
}

#[test]
fn verdicts_are_those_of_the_sandbox() {
    let tests = json!(["assert f(1) == 2", "assert f(2) == 3"]);
    let cases = [
        json!({"code": "def f(x): return x + 1", "tests": tests}),
        json!({"code": "def f(x): return x", "tests": tests}),
        json!({"code": "def f(x): raise ValueError(x)", "tests": tests}),
        json!({"code": "def f(x", "tests": tests}),
        json!({"code": "def f(x):\n    while True: pass", "tests": tests}),
        json!({"code": "import time\ndef f(x): time.sleep(60)", "tests": tests}),
        json!({"code": "import os\ndef f(x): os._exit(0)", "tests": tests}),
        json!({"code": "import sys\nsys.exit(0)", "tests": tests}),
        json!({"code": "def f(x): return bytearray(10**9)", "tests": tests}),
        json!({"code": "while True: print('x' * 10000)", "tests": tests}),
        json!({"code": "def f(x): return f(x)", "tests": tests}),
        json!({"code": "class A:\n    def __eq__(s, o): return True\ndef f(x): return A()", "tests": tests}),
        json!({"code": "def f(x): return x + 1", "entry_point": "f", "tests": [{"args": [1], "expected": 2}, {"args": [2], "expected": 4}]}),
        json!({"code": "def f(x): return x + 1", "entry_point": "f", "test": "def check(c):\n    assert c(1) == 2\n    assert c(2) == 3\n"}),
        json!({"code": "def f(x): return x + 1", "entry_point": "f", "reference": {"code": "def f(x): return x + 1", "inputs": "[[1], [2]]"}}),
        json!({"code": "print(int(input()) * 2)", "tests": [{"stdin": "4", "expected_stdout": "8"}, {"stdin": "5", "expected_stdout": "11"}]}),
        json!({"code": "print('hello')", "expected_stdout": "hello"}),
        json!({"code": "def sort(x): x.sort()\ndef app(g, x): return g(x)", "tests": ["a = [2, 1]\nsort(a)\nassert a == [1, 2]", "assert app(lambda v: v * 3, 4) == 12"]}),
    ];
    let Some((native, wasm)) = both(&cases) else { return };
    for ((case, native), wasm) in cases.iter().zip(&native).zip(&wasm) {
        let gist = |v: &Verdict| (v.status, v.passed, v.tests.iter().map(|t| t.passed).collect::<Vec<_>>(), v.parses);
        assert_eq!(gist(native), gist(wasm), "{case}\n{native:?}\n{wasm:?}");
        assert_eq!((native.backend, wasm.backend), (Backend::Native, Backend::Wasm));
    }
}

#[test]
fn nothing_of_the_machine_is_there() {
    let seen = |expression: &str| json!({"code": format!("import os, socket, subprocess\nprint({expression})"), "no_tests": true});
    let cases = [
        seen(
            "sorted(os.listdir('/tmp')), os.path.exists('/root/.bashrc'), os.path.exists('/etc/passwd'), os.path.exists('/work')",
        ),
        seen("sorted(k for k in os.environ if k in ('USER', 'HERD_CACHE', 'SSH_AUTH_SOCK'))"),
        json!({"code": "import os\nos.fork()", "no_tests": true}),
        json!({"code": "import subprocess\nsubprocess.run(['/bin/true'])", "no_tests": true}),
        json!({"code": "import socket\nsocket.create_connection(('1.1.1.1', 53), 1)", "no_tests": true}),
        json!({"code": "open('/usr/lib/x', 'w')", "no_tests": true}),
        json!({"code": "f = open('/tmp/x', 'wb')\nfor _ in range(100): f.write(bytes(10**6))", "no_tests": true}),
        json!({"code": "import os\nos.kill(1, 9)\nprint(len(os.listdir('/proc')) if os.path.exists('/proc') else 0)", "no_tests": true}),
        json!({"code": "import threading\nt = threading.Thread(target=print, args=('thread',))\nt.start()\nt.join()", "expected_stdout": "thread"}),
    ];
    let Some((native, _)) = both(&cases) else { return };
    assert_eq!(native[0].stdout.trim(), "[] False False False", "{:?}", native[0]);
    assert_eq!(native[1].stdout.trim(), "[]");
    for verdict in &native[2..7] {
        assert_eq!(verdict.status, Status::Error, "{verdict:?}");
    }
    assert!(native[8].passed, "{:?}", native[8]);
}

#[test]
fn it_is_for_python_only_and_says_so() {
    let Some((native, _)) = both(&[json!({"code": "1", "language": "javascript", "id": 1, "no_tests": true})]) else {
        return;
    };
    assert!(native[0].detail.as_deref().unwrap().contains("python only"), "{native:?}");
}
