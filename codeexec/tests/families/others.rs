//! Attacks in languages other than Python, in the classes that have language-specific variants.

use super::compiled::{c, cpp};
use super::{Attack, product};

/// All attacks in JavaScript, PHP, Ruby, C and C++.
pub fn all() -> Vec<Attack> {
    let languages: [(&'static str, Vec<Attack>); 5] =
        [("javascript", javascript()), ("php", php()), ("ruby", ruby()), ("c", c()), ("cpp", cpp())];
    let mut all = Vec::new();
    for (language, attacks) in languages {
        for mut attack in attacks {
            attack.language = language;
            attack.name = format!("{language}-{}", attack.name);
            all.push(attack);
        }
    }
    all
}

fn javascript() -> Vec<Attack> {
    let mut attacks = product(
        "loop",
        &["function f(x) { @ }", "@\nfunction f(x) { return 0 }", "const f = async x => { await 0; @ }"],
        &[
            "while (true) {}",
            "for (;;) Math.sqrt(2)",
            "do { x = 1 } while (x); var x",
            "for (const y of (function* () { while (true) yield 1 })()) ;",
            "[].every.call({length: 2 ** 53 - 1}, () => true)",
            "'a'.repeat(28).match(/^(a+)+$b/) || /^(a|a)*$/.test('a'.repeat(40) + '!')",
            "let o = {valueOf() { for (;;); }}; +o",
            "new Proxy({}, {get() { for (;;); }}).z",
            "Array.from({length: 1e15})",
            "2n ** (2n ** 40n)",
        ],
    );
    attacks.extend(product(
        "memory",
        &["function f(x) { @ }", "@\nfunction f(x) { return 0 }"],
        &[
            "const a = []; while (true) a.push(new Array(1e5).fill(1))",
            "let s = 'x'; while (true) s += s + Math.random()",
            "const m = new Map(); for (let i = 0; ; i++) m.set(i, 'v'.repeat(1000) + i)",
            "const a = []; while (true) a.push(new Uint8Array(1e6).fill(1))",
            "let o = {}; while (true) o = {o, p: [1, 2, 3]}",
            "const a = []; while (true) a.push(() => a)",
        ],
    ));
    attacks.extend(product(
        "recursion",
        &["@"],
        &[
            "function f(x) { return f(x + 1) }",
            "const f = x => [x].map(f)",
            "function f(x) { return JSON.stringify({toJSON() { return f(x) }}) }",
            "class A { get b() { return this.b } } function f(x) { return new A().b }",
            "function f(x) { return 'a'.replace(/a/, () => f(x)) }",
            "function f(x) { try { return f(x) } finally { return f(x) } }",
            "function f(x) { return eval('('.repeat(1e5) + ')'.repeat(1e5)) }",
            "function f(x) { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a }",
        ],
    ));
    attacks.extend(product(
        "output",
        &["@\nfunction f(x) { return 0 }", "function f(x) { @ }"],
        &[
            "while (true) console.log('x'.repeat(1000))",
            "while (true) console.error('x'.repeat(1000))",
            "while (true) process.stdout.write('x'.repeat(99))",
            "console.log('x'.repeat(5e6))",
        ],
    ));
    attacks.extend(product(
        "exit",
        &[
            "@\nfunction f(x) { return 0 }",
            "function f(x) { @ }",
            "function f(x) { setTimeout(() => { @ }); return 0 }",
        ],
        &[
            "process.exit(0)",
            "process.exit()",
            "std?.exit(0)",
            "import('qjs:std').then(std => std.exit(0))",
            "throw 0",
            "throw {passed: true}",
            "globalThis.console = undefined",
        ],
    ));
    attacks.extend(product(
        "patching",
        &["@;\nfunction f(x) { return 0 }", "function f(x) { @; return 0 }"],
        &[
            "console.assert = () => {}",
            "globalThis.console = {assert() {}, log() {}}",
            "JSON.stringify = () => '{\"value\":1234567}'",
            "JSON.parse = () => ({op: 'call', result: 1})",
            "Object.is = () => true",
            "globalThis.assert = () => true",
            "Array.prototype.every = () => true",
            "Function.prototype.call = () => 1234567",
            "Reflect.apply = () => 7777",
            "Object.prototype.toString = () => '1234567'; Object.prototype.valueOf = () => 1234567",
            "Map.prototype.get = () => 1234567",
            "Promise.prototype.then = function (g) { g(1234567) }",
            "require('assert').strictEqual = () => {}",
            "require('lodash').isEqual = () => true",
            "Object.defineProperty(Object.prototype, 'passed', {value: true})",
            "import('qjs:std').then(std => { const d = std.open('/dev/door', 'w'); d.puts('D{\"name\":\"a\",\"passed\":true}\\nE\\n'); d.flush() })",
        ],
    ));
    attacks.extend(product(
        "agreeing",
        &["function f(x) { return @ }"],
        &[
            "{valueOf() { return 1234567 }}",
            "new Proxy({}, {get: (t, k) => k === Symbol.toPrimitive ? () => 1234567 : t})",
            "{[Symbol.toPrimitive]: () => 1234567}",
            "new Number(1234567)",
            "Promise.resolve(1234567)",
            "new (class extends Array { toString() { return '1234567' } })()",
            "'1234567'",
            "[1234567]",
            "() => 1234567",
            "new (class { get [Symbol.toStringTag]() { return 1234567 } })()",
        ],
    ));
    attacks.extend(product(
        "files",
        &[
            "function f(x) { console.log('ESCAPED', require('fs').readFileSync('@')) }",
            "import('qjs:std').then(std => { const t = std.loadFile('@'); if (t) console.log('ESCAPED', t) });\nfunction f(x) { return 0 }",
            "import('qjs:os').then(os => { const [l, e] = os.readdir('@'); if (!e) console.log('ESCAPED', l) });\nfunction f(x) { return 0 }",
        ],
        &["/etc/passwd", "/proc/self/environ", "/root", "../../../../etc/hosts", "/tmp/../../work"],
    ));
    attacks
}

fn php() -> Vec<Attack> {
    let mut attacks = product(
        "loop",
        &["<?php function f($x) { @ }", "<?php @ function f($x) { return 0; }"],
        &[
            "while (true);",
            "for (;;) sqrt(2);",
            "foreach ((function () { while (true) yield 1; })() as $y);",
            "set_time_limit(0); while (1) { usleep(0); }",
            "ini_set('pcre.backtrack_limit', PHP_INT_MAX); while (1) preg_match('/(a+)+$/', str_repeat('a', 30) . '!');",
            "a: goto a;",
            "array_map(function ($y) { while (1); }, [1]);",
        ],
    );
    attacks.extend(product(
        "memory",
        &["<?php ini_set('memory_limit', -1); function f($x) { @ }", "<?php @ function f($x) { return 0; }"],
        &[
            "$a = []; while (true) $a[] = str_repeat('x', 100000);",
            "$s = 'x'; while (true) $s .= $s;",
            "$a = range(0, 1e9);",
            "$o = null; while (true) { $n = new stdClass; $n->o = $o; $o = $n; }",
            "$a = new SplFixedArray(1 << 30);",
        ],
    ));
    attacks.extend(product(
        "recursion",
        &["<?php @"],
        &[
            "function f($x) { return f($x + 1); }",
            "class A { function __get($n) { return $this->{$n . 'x'}; } } function f($x) { return (new A)->y; }",
            "function f($x) { return array_map('f', [$x]); }",
            "function f($x) { $a = []; for ($i = 0; $i < 100000; $i++) $a = [$a]; return $a; }",
            "class A { function __toString() { return (string) $this; } } function f($x) { return (string) new A; }",
        ],
    ));
    attacks.extend(product(
        "output",
        &["<?php @ function f($x) { return 0; }", "<?php function f($x) { @ }"],
        &[
            "while (true) echo str_repeat('x', 1000);",
            "while (true) fwrite(STDERR, str_repeat('x', 1000));",
            "echo str_repeat('x', 5000000);",
        ],
    ));
    attacks.extend(product(
        "exit",
        &[
            "<?php @ function f($x) { return 0; }",
            "<?php function f($x) { @ }",
            "<?php register_shutdown_function(function () { @ }); function f($x) { return 0; }",
        ],
        &[
            "exit(0);",
            "die();",
            "exit('passed');",
            "throw new Exception('passed');",
            "trigger_error('passed', E_USER_ERROR);",
            "fwrite(fopen('/dev/door', 'w'), \"D{\\\"name\\\":\\\"a\\\",\\\"passed\\\":true}\\nE\\n\"); exit(0);",
        ],
    ));
    attacks.extend(product(
        "patching",
        &["<?php @ function f($x) { return 0; }", "<?php function f($x) { @ return 0; }"],
        &[
            "ini_set('zend.assertions', 0);",
            "ini_set('assert.exception', 0);",
            "assert_options(ASSERT_ACTIVE, 0);",
            "set_error_handler(fn() => true);",
            "set_exception_handler(fn() => true);",
            "\\Codeexec\\Door::say('D' . json_encode(['name' => 'a', 'passed' => true]));",
            "stream_wrapper_unregister('file');",
            "ob_start(fn() => '1234567');",
            "error_reporting(0);",
        ],
    ));
    attacks.extend(product(
        "agreeing",
        &["<?php class A { function __toString() { return '1234567'; } } function f($x) { return @; }"],
        &["new A", "'1234567'", "true", "1234567.0", "[1234567]", "fn() => 1234567", "new ArrayObject([1234567])"],
    ));
    attacks.extend(product(
        "files",
        &[
            "<?php function f($x) { $t = @file_get_contents('#'); if ($t) echo 'ESCAPED', $t; return 0; }",
            "<?php $t = @scandir('#'); if ($t) echo 'ESCAPED', implode($t); function f($x) { return 0; }",
            "<?php function f($x) { if (@include '#') echo 'ESCAPED'; return 0; }",
        ]
        .map(|how| how.replace('@', "%").replace('#', "@"))
        .each_ref()
        .map(String::as_str),
        &["/etc/passwd", "/proc/self/environ", "/root", "../../../../etc/hosts", "file:///etc/hosts"],
    ));
    for attack in &mut attacks {
        attack.code = attack.code.replace('%', "@");
    }
    attacks.extend(product(
        "processes",
        &["<?php function f($x) { $r = @; if ($r) echo 'ESCAPED', $r; return 0; }"],
        &[
            "shell_exec('id')",
            "system('id')",
            "`id`",
            "exec('id')",
            "fsockopen('1.1.1.1', 53)",
            "file_get_contents('http://1.1.1.1/')",
            "getenv('HOME')",
            // The interpreter's stub reports success, so its result is not printed. A real kill would cost a worker.
            "posix_kill(posix_getppid(), 9) && false",
        ],
    ));
    attacks
}

fn ruby() -> Vec<Attack> {
    let mut attacks = product(
        "loop",
        &["def f(x)\n  @\nend", "@\ndef f(x) = 0"],
        &[
            "loop {}",
            "while true; end",
            "(1..).each { |y| y }",
            "Enumerator.new { |y| loop { y << 1 } }.to_a",
            "1.step { }",
            "until false do Math.sqrt(2) end",
            "[1].cycle { }",
        ],
    );
    attacks.extend(product(
        "memory",
        &["def f(x)\n  @\nend", "@\ndef f(x) = 0"],
        &[
            "a = []\nloop { a << 'x' * 100000 }",
            "s = 'x'\nloop { s += s }",
            "Array.new(1 << 28) { |i| i.to_s }",
            "h = {}\ni = 0\nloop { h[i += 1] = i.to_s * 100 }",
            "1 << (1 << 34)",
        ],
    ));
    attacks.extend(product(
        "recursion",
        &["@"],
        &[
            "def f(x) = f(x + 1)",
            "def f(x) = [x].map { |y| f(y) }",
            "class A; def inspect = inspect; end\ndef f(x) = A.new.inspect",
            "def method_missing(n, *a) = send(n.to_s + 'x')\ndef f(x) = zzz",
            "def f(x)\n  f(x)\nrescue SystemStackError\n  f(x)\nend",
        ],
    ));
    attacks.extend(product(
        "output",
        &["@\ndef f(x) = 0", "def f(x)\n  @\nend"],
        &[
            "loop { puts 'x' * 1000 }",
            "loop { warn 'x' * 1000 }",
            "$stdout.write('x' * 5_000_000)",
            "loop { STDOUT.syswrite('x' * 99) }",
        ],
    ));
    attacks.extend(product(
        "exit",
        &[
            "@\ndef f(x) = 0",
            "def f(x)\n  @\nend",
            "at_exit { puts 'passed' }\ndef f(x)\n  begin\n    @\n  ensure\n    return 0\n  end\nend",
        ],
        &[
            "exit",
            "exit(0)",
            "exit!",
            "exit!(0)",
            "abort('passed')",
            "raise SystemExit",
            "throw :done",
            "raise Exception, 'passed'",
            "Process.exit!(true)",
        ],
    ));
    attacks.extend(product(
        "patching",
        &["@\ndef f(x) = 0", "def f(x)\n  @\n  0\nend"],
        &[
            "Integer.class_eval { define_method(:==) { |o| true } }",
            "Object.class_eval { define_method(:assert) { |*a| true } }",
            "BasicObject.class_eval { define_method(:!) { false } }",
            "JSON.define_singleton_method(:generate) { |*a, **k| '{\"value\":7777}' }",
            "Codeexec.define_singleton_method(:json) { |v| '{\"value\":1234567}' } if Codeexec.respond_to?(:json) && false",
            "Codeexec::Judge.class_eval { define_method(:report) { |*a| } }",
            "Kernel.define_method(:raise) { |*a| nil }",
            "TracePoint.new(:raise) { |t| }.enable",
            "File.open('/dev/door', 'wb') { |d| d.write(%q(D{\"name\":\"a\",\"passed\":true}) + \"\\nE\\n\") }",
            "ObjectSpace.each_object(Class) { |c| c }",
        ],
    ));
    attacks.extend(product(
        "agreeing",
        &["class A\n  def ==(o) = true\n  def eql?(o) = true\n  def coerce(o) = [o, o]\n  def to_i = 1234567\n  def nil? = true\nend\ndef f(x) = @"],
        &["A.new", "'1234567'", "[1234567]", "A", "->() { 1234567 }", "Class.new(BasicObject) { def ==(o) = true }.new", ":'1234567'", "1234567.5"],
    ));
    attacks.extend(product(
        "files",
        &[
            "def f(x)\n  puts 'ESCAPED', File.read('@')\nend",
            "puts 'ESCAPED', Dir.children('@').inspect\ndef f(x) = 0",
            "def f(x)\n  load '@'\n  puts 'ESCAPED'\nend",
        ],
        &["/etc/passwd", "/proc/self/environ", "/root", "../../../../etc/hosts", "/work"],
    ));
    attacks.extend(product(
        "processes",
        &["def f(x)\n  r = @\n  puts 'ESCAPED', r if r\n  0\nend"],
        &[
            "`id`",
            // The stub of `system` reports success, so its result is not printed.
            "system('kill -9 $PPID') && nil",
            "fork",
            "exec('id')",
            "spawn('id')",
            "IO.popen('id').read",
            "Process.kill(9, 1)",
            "ENV['HOME']",
            "require('socket') && TCPSocket.new('1.1.1.1', 53)",
        ],
    ));
    attacks
}
