//! Attacks on isolation: files, links, environment, network, processes, threads, signals and the interpreter itself.

use super::{Attack, product};

pub fn all() -> Vec<Attack> {
    let mut attacks = product(
        "files",
        &[
            "def f(x):\n    print('ESCAPED', open('@').read()[:20])",
            "import os\ndef f(x):\n    print('ESCAPED', os.listdir('@'))",
            "import os\nprint('ESCAPED', os.stat('@').st_size)",
            "import os\nfd = os.open('@', os.O_RDONLY)\nprint('ESCAPED', os.read(fd, 10))",
            "import pathlib\nprint('ESCAPED', pathlib.Path('@').read_bytes()[:9])",
        ],
        &[
            "/etc/passwd",
            "/etc/shadow",
            "/proc/self/environ",
            "/proc/1/cmdline",
            "/sys/kernel",
            "/dev/null",
            "/dev/sda",
            "/home",
            "/root/.ssh/id_rsa",
            "/work",
            "/var/run/docker.sock",
            "/usr/bin/python3",
            "/boot",
            "/proc/self/mem",
        ],
    );
    attacks.extend(product(
        "paths",
        &[
            "print('ESCAPED', open('@').read()[:20])\ndef f(x): return 0",
            "import os\ndef f(x):\n    os.chdir('@')\n    print('ESCAPED', os.getcwd())",
            "import os\nos.symlink('@', '/tmp/l')\nprint('ESCAPED', open('/tmp/l').read()[:9])",
            "import os\ndef f(x):\n    os.link('@', '/tmp/l')\n    print('ESCAPED', os.stat('/tmp/l'))",
            "import os\nos.rename('@', '/tmp/l')\nprint('ESCAPED')",
            "import shutil\nshutil.copy('@', '/tmp/l')\nprint('ESCAPED')",
        ],
        &[
            "../../../../etc/passwd",
            "/tmp/../../etc/passwd",
            "./../etc/hostname",
            "/usr/local/lib/../../../../etc/hosts",
            "/tmp/./././../../proc/version",
            "..//..//..//etc//passwd",
            "/../../../../../../root/.bashrc",
            "/tmp/x/../../../../etc/group",
            "/usr/../../../etc/issue",
            "../../../../../../../../dev/mem",
        ],
    ));
    attacks.extend(product(
        "environment",
        &[
            "import os\nvalue = @\nif value: print('ESCAPED', value)\ndef f(x): return 0",
            "import os, sys\ndef f(x):\n    value = @\n    if value: print('ESCAPED', value)",
            "import os, sys\nclass A:\n    def __init__(self): self.v = @\nif A().v: print('ESCAPED', A().v)\ndef f(x): return 0",
            "import os, sys\ndef g():\n    yield @\nv = list(g())[0]\nif v: print('ESCAPED', v)\ndef f(x): return 0",
        ],
        &[
            "os.environ.get('HOME')", "os.environ.get('PATH')", "os.environ.get('HERD_CACHE')", "os.environ.get('USER')", "os.environ.get('AWS_SECRET_ACCESS_KEY')",
            "[k for k in os.environ if k not in ('TMPDIR', 'PYTHONTZPATH')]", "os.getenv('SHELL')", "[a for a in __import__('sys').argv if 'child' in a]",
            "__import__('sys').orig_argv[1:] if 'child' in str(__import__('sys').orig_argv) else None", "os.environ.get('HF_TOKEN')", "os.environ.get('LD_LIBRARY_PATH')",
            "[v for v in os.environ.values() if 'work' in v]", "os.path.expanduser('~') if os.path.exists(os.path.expanduser('~/.bashrc')) else ''", "os.environb.get(b'HOME')",
            "__import__('posix').environ.get(b'PATH')",
        ],
    ));
    attacks.extend(product(
        "network",
        &[
            "import socket\nprint('ESCAPED', @)\ndef f(x): return 0",
            "import socket, urllib.request, http.client\ndef f(x):\n    print('ESCAPED', @)",
            "import socket\ntry:\n    v = @\n    print('ESCAPED', v)\nexcept OSError:\n    raise\ndef f(x): return 0",
            "import socket\ndef f(x):\n    import threading\n    return [@ for _ in range(3)] and print('ESCAPED')",
        ],
        &[
            "socket.create_connection(('1.1.1.1', 53), 1)",
            "socket.create_connection(('127.0.0.1', 8080), 1)",
            "socket.getaddrinfo('example.com', 80)",
            "socket.gethostbyname('localhost')",
            "socket.socket().connect(('10.0.0.1', 22))",
            "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))",
            "socket.socket().bind(('0.0.0.0', 8000))",
            "__import__('urllib.request').request.urlopen('http://169.254.169.254/')",
            "__import__('http.client').client.HTTPConnection('example.com').request('GET', '/')",
            "socket.create_server(('', 0))",
            "socket.socketpair()[0].send(b'x') and socket.fromfd(0, 1, 1)",
            "__import__('ftplib').FTP('ftp.example.com')",
            "__import__('smtplib').SMTP('localhost')",
            "socket.fromfd(3, socket.AF_INET, socket.SOCK_STREAM).recv(1)",
            "__import__('asyncio').run(__import__('asyncio').open_connection('1.1.1.1', 80))",
        ],
    ));
    attacks.extend(product(
        "processes",
        &[
            "import os, subprocess\nv = @\nprint('ESCAPED', v)\ndef f(x): return 0",
            "import os, subprocess\ndef f(x):\n    v = @\n    print('ESCAPED', v)",
            "import os, subprocess\ndef f(x):\n    for _ in range(1000): v = @\n    print('ESCAPED', v)",
            "import os, subprocess\nclass A:\n    @property\n    def p(self): return 1\ndef f(x):\n    print('ESCAPED', (lambda: @)())",
        ]
        .map(|how| how.replace("@property", "%property"))
        .each_ref()
        .map(String::as_str),
        &[
            "os.fork()", "os.execv('/bin/sh', ['sh'])", "subprocess.run(['ls'])", "subprocess.Popen('ls', shell=True)", "os.popen('id').read()", "os.spawnl(os.P_WAIT, '/bin/ls', 'ls')",
            "os.posix_spawn('/bin/ls', ['ls'], {})", "os.kill(1, 9)", "os.kill(os.getppid(), 9)", "__import__('multiprocessing').Process(target=print).start()", "__import__('pty').spawn('sh')",
            "__import__('concurrent.futures').futures.ProcessPoolExecutor().submit(os.getpid).result() != os.getpid() or 1 / 0", "os.setuid(0)", "os.system('id') == 0 or 1 / 0", "__import__('ctypes').CDLL(None).system(b'id')",
            "__import__('fcntl').flock(1, 2)", "__import__('resource').setrlimit(0, (1, 1))",
        ],
    ));
    for attack in &mut attacks {
        attack.code = attack.code.replace("%property", "@property");
    }
    attacks.extend(product(
        "threads",
        &[
            "import threading, _thread, time\ndef g():\n    while True: pass\n@\ndef f(x): return 0",
            "import threading, _thread, time\ndef g():\n    time.sleep(100)\n@\ndef f(x): return 0",
            "import threading, _thread, time\ndef g():\n    global f\n    f = lambda x: 7\ndef f(x):\n    return 0\n@",
            "import threading, _thread, time\nimport sys\nsys.setswitchinterval(1e-6)\ndef g():\n    print('x' * 10)\ndef f(x):\n    return len([0])\n@",
            "import threading, _thread, time, builtins\ndef g():\n    builtins.leak = 1\n@\ndef f(x): return 0",
        ],
        &[
            "threading.Thread(target=g).start()", "threading.Thread(target=g, daemon=True).start()", "_thread.start_new_thread(g, ())", "[threading.Thread(target=g).start() for _ in range(1000)]",
            "threading.Timer(0.01, g).start()", "t = threading.Thread(target=g); t.start(); t.join()", "__import__('concurrent.futures').futures.ThreadPoolExecutor().submit(g).result()",
            "__import__('asyncio').run(__import__('asyncio').to_thread(g))", "l = threading.Lock(); l.acquire(); l.acquire()", "threading.Barrier(2).wait(3)", "threading.Condition().__enter__(); threading.Semaphore(0).acquire()",
            "__import__('queue').Queue().get()", "__import__('multiprocessing.pool').pool.ThreadPool(4).map(lambda _: g(), range(4))",
        ],
    ));
    attacks.extend(product(
        "signals",
        &[
            "import signal, os\n@\ndef f(x): return 0",
            "import signal, os\ndef f(x):\n    @\n    return 0",
            "import signal, os\ntry:\n    @\nexcept Exception:\n    os.abort()\ndef f(x): return 0",
            "import signal, os\nfor _ in range(100):\n    @\ndef f(x): return 0",
            "import signal, os, atexit\ndef bye():\n    @\natexit.register(bye)\ndef f(x): raise SystemExit",
        ],
        &[
            "signal.raise_signal(signal.SIGSEGV)",
            "signal.raise_signal(signal.SIGINT)",
            "signal.raise_signal(signal.SIGTERM)",
            "signal.raise_signal(signal.SIGABRT)",
            "signal.signal(signal.SIGINT, signal.SIG_IGN)",
            "signal.alarm(1)",
            "signal.setitimer(signal.ITIMER_REAL, 0.01)",
            "signal.pause()",
            "os.kill(os.getpid(), 9)",
            "os.abort()",
            "signal.raise_signal(9)",
            "os.killpg(0, 15)",
            "__import__('faulthandler')._sigsegv()",
        ],
    ));
    attacks.extend(product(
        "crashes",
        &[
            "@\ndef f(x): return 0",
            "def f(x):\n    @\n    return 0",
            "class A:\n    def __del__(self):\n        @\ndef f(x):\n    A()\n    return 0",
            "try:\n    @\nexcept BaseException:\n    pass\ndef f(x): return 1",
            "import gc\ngc.disable()\ndef g():\n    @\n    yield 1\ndef f(x): return list(g())",
        ],
        &[
            "exec((lambda: 0).__code__.replace(co_code=bytes([100, 255] * 50), co_stacksize=1))",
            "exec((lambda: 0).__code__.replace(co_code=bytes(range(1, 201))))",
            "exec((lambda: 0).__code__.replace(co_code=b'\\xff' * 1000, co_consts=()))",
            "exec((lambda a: a).__code__.replace(co_argcount=0, co_nlocals=0, co_varnames=()))",
            "import os; os.close(0); os.close(1); os.close(2)",
            "import marshal; marshal.loads(b'c' + b'\\xff' * 200)",
            "import marshal; marshal.loads(b'[' + b'\\xff\\xff\\xff\\x7f' + b'r' * 100)",
            "import sys; sys.modules.clear()",
            "import builtins; builtins.__dict__.clear()",
            "import sys; del sys.modules['codeexec_harness']; sys.stdout = sys.stderr = None",
            "import _host; _host.call(b'R' + b'\\xff' * 10000)",
            "import _host; [_host.call(bytes([i]) * 100) for i in range(256)]",
            "import codeexec_harness as h; h.__dict__.clear()",
            "import gc; [o.clear() for o in gc.get_objects() if type(o) in (dict, list)]",
            "import ctypes; ctypes.string_at(0)",
        ],
    ));
    attacks.extend(product(
        "disk",
        &[
            "i = 0\nwhile True:\n    open('/tmp/f%d' % i, @).write(b'x' * 10**6 if True else b'')\n    i += 1\ndef f(x): return 0",
            "def f(x):\n    with open('/tmp/big', @) as h:\n        while True: h.write(b'y' * 10**5)",
            "import os\nfor i in range(10**9):\n    os.mkdir('/tmp/d%d' % i); open('/tmp/d%d/f' % i, @).close()\ndef f(x): return 0",
            "import tempfile\ndef f(x):\n    h = open(tempfile.mktemp(), @)\n    h.truncate(10**12)",
            "import os\ndef f(x):\n    h = open('/tmp/s', @)\n    h.seek(10**15)\n    h.write(b'z')\n    h.flush()",
            "def f(x):\n    kept = [open('/tmp/o%d' % i, @) for i in range(100000)]",
            "import os\nh = open('/tmp/a', @)\nos.unlink('/tmp/a')\nwhile True:\n    h.write(b'q' * 10**6)\n    h.flush()\ndef f(x): return 0",
            "import mmap\ndef f(x):\n    h = open('/tmp/m', @)\n    h.write(b'1' * 10**8)\n    h.flush()",
            "import zipfile\ndef f(x):\n    h = open('/tmp/zip', @)\n    z = zipfile.ZipFile(h, 'w')\n    while True: z.writestr('a', b'0' * 10**7)",
            "import shutil, os\ndef f(x):\n    h = open('/tmp/c', @)\n    h.write(b'2' * 10**6)\n    h.close()\n    for i in range(10**6): shutil.copy('/tmp/c', '/tmp/c%d' % i)",
        ],
        &["'wb'", "'ab'", "'xb'", "'w+b'", "'a+b'", "'wb', 0"],
    ));
    attacks
}
