<?php
// The half of the harness that judges. It runs in an interpreter of its own, which the program cannot reach: the program's
// functions are called from here, its results come as data, and expected values never leave.
namespace Codeexec;

require '/lib/values.php';

final class ProgramEnded extends \Error {}

/** An object that lives with the program. */
class Remote implements \ArrayAccess, \Countable, \IteratorAggregate {
    public function __construct(...$args) {
        Link::bind($this, Link::ask(['op' => 'new', 'class' => static::class, 'args' => Link::pack($args)], false));
    }
    public function __call($name, $args) { return Link::method($this, $name, $args); }
    public static function __callStatic($name, $args) {
        return Link::ask(['op' => 'static', 'class' => static::class, 'name' => $name, 'args' => Link::pack($args)]);
    }
    public function __get($name) { return Link::on($this, 'get', ['name' => $name]); }
    public function __set($name, $value) { Link::on($this, 'set', ['name' => $name, 'args' => Link::pack([$value])]); }
    public function __isset($name) { return Link::on($this, 'has', ['name' => $name]); }
    public function __toString(): string { return (string) Link::on($this, 'string'); }
    public function __invoke(...$args) { return Link::call(['on' => Link::description($this)], $args); }
    public function count(): int { return (int) Link::on($this, 'count'); }
    public function offsetGet($at): mixed { return Link::on($this, 'at', ['args' => Link::pack([$at])]); }
    public function offsetSet($at, $value): void { Link::on($this, 'put', ['args' => Link::pack([$at, $value])]); }
    public function offsetExists($at): bool { return (bool) Link::on($this, 'isset', ['args' => Link::pack([$at])]); }
    public function offsetUnset($at): void { Link::on($this, 'unset', ['args' => Link::pack([$at])]); }
    public function getIterator(): \Iterator {
        foreach (Link::on($this, 'items') as [$key, $item]) yield $key => $item;
    }
}

final class Link {
    public static int $calls = 0;
    public static ?string $raised = null;
    public static string $last = '';
    private static array $own = [];
    private static array $thrown = [];
    private static ?\WeakMap $descriptions = null;
    private static array $handles = [];

    public static function bind(object $object, array $packed): void {
        self::$descriptions ??= new \WeakMap();
        self::$descriptions[$object] = $packed;
        self::$handles[$packed['id']] = $object;
    }

    public static function description(object $object): ?array {
        return self::$descriptions[$object] ?? null;
    }

    public static function keep($value): array {
        self::$descriptions ??= new \WeakMap();
        if (isset(self::$descriptions[$value])) return self::$descriptions[$value];
        if (!is_callable($value)) throw new \TypeError('the tests cannot pass objects of their own to the program');
        $id = -1 - count(self::$own);
        self::$own[$id] = $value;
        return ['$' => 'o', 'id' => $id];
    }

    public static function find(array $packed) {
        $id = $packed['id'];
        if ($id < 0) return self::$own[$id];
        if (isset(self::$handles[$id])) return self::$handles[$id];
        $class = class_exists((string) $packed['c'], false) && is_subclass_of($packed['c'], Remote::class) ? $packed['c'] : Remote::class;
        $object = (new \ReflectionClass($class))->newInstanceWithoutConstructor();
        self::bind($object, ['$' => 'o', 'id' => (int) $id, 'c' => (string) $packed['c']]);
        return $object;
    }

    public static function pack($value) { return pack_value($value, [self::class, 'keep']); }
    public static function unpack($packed) { return unpack_value($packed, [self::class, 'find']); }

    private static function exchange(array $request): array {
        $answer = Door::say('C' . json($request));
        for (;;) {
            if (($answer[0] ?? '') !== '0') throw new ProgramEnded(substr($answer, 1));
            $reply = json_decode(substr($answer, 1), true, 100000);
            if (!is_array($reply)) throw new \TypeError('not a reply');
            if (!isset($reply['callback'])) return $reply;
            try {
                $back = ['result' => self::pack(self::$own[$reply['callback']](...self::unpack($reply['args'])))];
            } catch (\Throwable $error) {
                $back = ['thrown' => $error->getMessage()];
            }
            $answer = Door::say('C' . json($back));
        }
    }

    public static function ask(array $request, bool $isUnpacked = true) {
        $reply = self::exchange($request);
        if (isset($reply['raised'])) throw self::error($reply['raised']);
        return $isUnpacked ? self::unpack($reply['value'] ?? null) : $reply['value'];
    }

    public static function on(object $object, string $op, array $more = []) {
        return self::ask(['op' => $op, 'on' => self::$descriptions[$object]] + $more);
    }

    public static function method(object $object, string $name, array $args) {
        self::$calls++;
        return self::on($object, 'method', ['name' => $name, 'args' => self::pack($args)]);
    }

    public static function call(array $target, array &$args) {
        self::$calls++;
        self::$last = '';
        $reply = self::exchange(['op' => 'call', 'args' => self::pack($args)] + $target);
        if (isset($reply['raised'])) throw self::error($reply['raised']);
        if (isset($reply['changed'])) foreach (self::unpack($reply['changed']) as $key => $value) $args[$key] = $value;
        $result = self::unpack($reply['value'] ?? null);
        $shown = ($target['name'] ?? 'it') . '(' . substr(trim(json($args), '[]'), 0, 200) . ')';
        self::$last = substr($shown . ' returned ' . (is_object($result) ? get_class($result) : json($result)), 0, 400);
        return $result;
    }

    private static function error(array $raised): \Throwable {
        self::$raised = (string) ($raised['traceback'] ?? '');
        $kinds = array_filter($raised['kinds'] ?? [], fn($kind) => class_exists((string) $kind) && is_subclass_of($kind, \Throwable::class));
        $class = reset($kinds) ?: \Exception::class;
        $error = (new \ReflectionClass($class))->newInstanceWithoutConstructor();
        $base = $error instanceof \Exception ? \Exception::class : \Error::class;
        foreach (['message' => (string) $raised['message'], 'code' => (int) ($raised['code'] ?? 0)] as $name => $value) {
            (new \ReflectionProperty($base, $name))->setValue($error, $value);
        }
        self::$thrown[spl_object_id($error)] = $error;
        return $error;
    }

    public static function isOfProgram(\Throwable $error): bool {
        return $error instanceof ProgramEnded || (self::$thrown[spl_object_id($error)] ?? null) === $error;
    }
}

final class Judge {
    public static array $job;

    public static function report(string $name, ?\Throwable $error): void {
        $result = ['name' => self::cut($name, 300), 'passed' => $error === null, 'message' => '', 'kind' => 'passed'];
        if ($error !== null) {
            $ofProgram = Link::isOfProgram($error);
            // What a test throws says that a result is wrong; what PHP itself throws says that the test could not be run.
            $isTests = !$ofProgram && ($error instanceof \Exception || $error instanceof \AssertionError);
            $text = $error instanceof \Exception || $error instanceof \AssertionError ? $error->getMessage() : get_class($error) . ': ' . $error->getMessage();
            if ($ofProgram && !$error instanceof ProgramEnded) $text = get_class($error) . ': ' . $error->getMessage();
            $result['message'] = self::cut(implode('; ', array_filter([$text, $ofProgram ? '' : Link::$last])), 4000);
            $result['kind'] = $isTests ? 'failed' : 'error';
            if ($ofProgram && Link::$raised !== null) $result['traceback'] = Link::$raised;
        }
        Link::$raised = null;
        Link::$last = '';
        Door::say('D' . json($result));
    }

    private static function cut(string $text, int $size): string {
        return preg_match('//u', $text) ? mb_substr($text, 0, $size) : substr(bin2hex($text), 0, $size);
    }

    /** Stand-ins for what the program defines and the tests do not. */
    public static function define(string $text): void {
        $names = self::$job['names'];
        foreach ($names['functions'] ?? [] as $name => $parameters) {
            if (function_exists($name) || preg_match('/\bfunction\s+&?\s*' . preg_quote($name) . '\s*\(/i', $text)) continue;
            self::place($name, function (string $short) use ($name, $parameters) {
                $list = [];
                $byReference = array_column($parameters, 0);
                if (in_array(true, $byReference, true)) {
                    foreach ($parameters as $i => [$isReference, $isVariadic]) {
                        if (!$isVariadic) $list[] = ($isReference ? '&' : '') . "\$p$i" . ($isReference ? '' : ' = null');
                    }
                    $keep = '$args = []; for ($i = 0; $i < func_num_args(); $i++) { $args[] = null; } ';
                    foreach ($list as $i => $_) $keep .= "if (func_num_args() > $i) \$args[$i] = &\$p$i; ";
                } else {
                    $list[] = '...$args';
                    $keep = '';
                }
                return "function $short(" . implode(', ', $list) . ") { $keep return \\Codeexec\\Link::call(['name' => "
                    . var_export($name, true) . "], \$args); }";
            });
        }
        foreach ($names['classes'] ?? [] as $name => $parents) {
            if (class_exists($name, false) || preg_match('/\bclass\s+' . preg_quote($name) . '\b/i', $text)) continue;
            $known = array_filter($parents ?? [], fn($parent) => class_exists($parent));
            $base = $parents === null ? '\\Codeexec\\Remote' : '\\' . (reset($known) ?: 'Exception');
            self::place($name, fn(string $short) => "class $short extends $base {}");
        }
        foreach ($names['constants'] ?? [] as [$name, $value]) {
            if (!defined($name)) define($name, Link::unpack($value));
        }
    }

    private static function place(string $name, callable $definition): void {
        $at = strrpos($name, '\\');
        $short = $at === false ? $name : substr($name, $at + 1);
        if (!preg_match('/^[A-Za-z_\x80-\xff][\w\x80-\xff]*$/', $short)) return;
        eval(($at === false ? '' : 'namespace ' . substr($name, 0, $at) . '; ') . $definition($short));
    }

    public static function write(string $text): string {
        file_put_contents('/tmp/tests.php', (preg_match('/^\s*<\?(php|=)/i', $text) ? '' : '<?php ') . $text . "\n;");
        return '/tmp/tests.php';
    }
}

Judge::$job = json_decode(Door::say('T'), true, 100000);
Judge::define((string) (Judge::$job['setup'] ?? '') . (string) (Judge::$job['test'] ?? ''));
$codeexecTexts = Judge::$job['kind'] === 'asserts' ? Judge::$job['tests'] : [Judge::$job['test'] ?? ''];
$codeexecName = isset(Judge::$job['entry_point']) ? 'check(' . Judge::$job['entry_point'] . ')' : 'tests';
$codeexecReady = true;
if (trim((string) (Judge::$job['setup'] ?? '')) !== '') {
    try {
        include Judge::write(Judge::$job['setup']);
    } catch (\Throwable $codeexecError) {
        Judge::report('setup', $codeexecError);
        $codeexecReady = false;
    }
}
if (!in_array(Judge::$job['kind'], ['asserts', 'script'], true)) {
    Judge::report(Judge::$job['kind'], new \TypeError('tests of this kind are for Python'));
    $codeexecReady = false;
}
foreach ($codeexecReady ? $codeexecTexts : [] as $codeexecText) {
    $codeexecName_ = Judge::$job['kind'] === 'asserts' ? $codeexecText : $codeexecName;
    Link::$calls = 0;
    try {
        $codeexecValue = include Judge::write($codeexecText);
        if (Judge::$job['kind'] === 'script' && Link::$calls === 0) throw new \Error('no test was reached');
        Judge::report($codeexecName_, null);
    } catch (\Throwable $codeexecError) {
        Judge::report($codeexecName_, $codeexecError);
    }
}
Door::say('E');
