<?php
// The judge's side of the harness. It runs in a separate interpreter, which the program cannot reach. It calls the program's
// functions, receives the results as data, and compares them with the expected values here.
namespace Codeexec;

require '/lib/values.php';
require '/lib/phpunit.php';

final class ProgramEnded extends \Error {}

/** A handle of an object in the program's interpreter. */
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
    /** The number of requests to the program in this run. */
    public static int $all = 0;
    public static ?string $raised = null;
    public static string $last = '';
    /** The function or method of the program that was called last. */
    public static string $lastName = '';
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
        self::$all++;
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
        self::$lastName = $name;
        return self::on($object, 'method', ['name' => $name, 'args' => self::pack($args)]);
    }

    public static function call(array $target, array &$args) {
        self::$calls++;
        self::$lastName = (string) ($target['name'] ?? '');
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
    /** Numbers of evaluated assertions and, below, of evaluated `if` conditions, which count in tests that throw or exit. */
    public static int $checks = 0;
    public static int $conditions = 0;
    public const NOTHING = 'no test was reached: no comparison was evaluated (an assertion), so nothing was judged';
    public const NOT_USED = 'the tests use nothing that the program defines, or never call it, so nothing was judged';
    /** An exception that the tests threw and caught themselves: it is a failure. */
    public static ?\Throwable $swallowed = null;
    public static bool $hasPassed = false;
    private static array $source = [];

    /** Called in each `catch` of the tests: records a failure that they catch. */
    public static function caught(\Throwable $error): void {
        if (self::$swallowed !== null) return;
        if (Link::isOfProgram($error)) {
            // An exception that the program throws inside an assertion or a condition is a failure.
            foreach ($error->getTrace() as $frame) {
                if (($frame['file'] ?? '') !== '/tmp/tests.php') continue;
                $line = self::$source[$frame['line'] - 1] ?? '';
                // That is so if every call of the function in that line is inside one.
                preg_match_all('/\b' . preg_quote(Link::$lastName, '/') . '\s*\(/i', $line, $places, PREG_OFFSET_CAPTURE);
                $isInside = fn($place) => preg_match('/\b(if|elseif|assert\w*)\s*\([^;{]*$/i', substr($line, 0, $place[1]));
                if ($places[0] && array_filter($places[0], $isInside) === $places[0]) self::$swallowed = $error;
                return;
            }
            return;
        }
        $isThrown = $error->getFile() === '/tmp/tests.php' && preg_match('/\bthrow\b/i', self::$source[$error->getLine() - 1] ?? '');
        if ($isThrown || $error instanceof \AssertionError || $error instanceof \PHPUnit\Framework\AssertionFailedError) self::$swallowed = $error;
    }

    /** Throws the failure that the tests have caught, if any. Refuses tests that switch assertions off. */
    public static function settle(): void {
        [$error, self::$swallowed] = [self::$swallowed, null];
        if ($error !== null) throw new \Exception('the tests caught their own failure: ' . $error->getMessage());
        if (ini_get('zend.assertions') !== '1' || !ini_get('assert.exception')) {
            throw new \Error('the tests switch assertions off (zend.assertions or assert.exception), so nothing was judged');
        }
    }

    /** Whether the tests name something that the program defines. */
    public static function isUsed(): bool {
        if (Link::$all > 0) return true;
        // A constant counts as used if the tests name it; functions and classes count if they are called.
        $texts = implode("\n", [self::$job['setup'] ?? '', self::$job['test'] ?? '', ...(self::$job['tests'] ?? [])]);
        $names = self::$job['names'];
        $defined = array_column($names['constants'] ?? [], 0);
        foreach ($defined as $name) {
            $parts = explode('\\', (string) $name);
            if (preg_match('/\b' . preg_quote(end($parts), '/') . '\b/i', $texts)) return true;
        }
        return false;
    }

    public static function condition($value) {
        self::$conditions++;
        return $value;
    }

    /** Changes a test source so that its assertions and conditions are counted when they are reached. */
    public static function counting(string $text): string {
        if (!function_exists('token_get_all')) {
            return preg_replace('/(?<![\w>:$])assert\s*\(/i', '\\Codeexec\\Judge::$checks += (int) assert(', $text);
        }
        $tokens = token_get_all($text);
        $out = '';
        $depths = [];
        $depth = 0;
        // `$catch`: inside the parentheses of a `catch`, the exception's variable and the depth. `$handler`: that variable, up to `{`.
        $catch = null;
        $handler = null;
        foreach ($tokens as $i => $token) {
            $word = is_array($token) ? $token[1] : $token;
            $kind = is_array($token) ? $token[0] : null;
            $next = $i + 1;
            while (is_array($tokens[$next] ?? null) && $tokens[$next][0] === T_WHITESPACE) $next++;
            $last = $i - 1;
            while (is_array($tokens[$last] ?? null) && $tokens[$last][0] === T_WHITESPACE) $last--;
            $before = $tokens[$last] ?? null;
            $isMethod = is_array($before) && in_array($before[0], [T_OBJECT_OPERATOR, T_DOUBLE_COLON], true);
            $isFree = !is_array($before) || !in_array($before[0], [T_OBJECT_OPERATOR, T_DOUBLE_COLON, T_FUNCTION, T_NEW, T_NULLSAFE_OBJECT_OPERATOR], true);
            if (in_array($kind, [T_STRING, T_NAME_FULLY_QUALIFIED], true) && in_array(strtolower($word), ['assert', '\\assert'], true)
                && ($tokens[$next] ?? null) === '(' && $isFree) {
                // An assertion that is true whatever the program does is not counted.
                if (!self::isAlways(self::arguments($tokens, $next)[0] ?? [])) $word = '\\Codeexec\\Judge::$checks += (int) ' . $word;
            } elseif ($kind === T_STRING && $isMethod && preg_match('/^assert/', $word) && ($tokens[$next] ?? null) === '('
                && self::isFixed(self::arguments($tokens, $next), $word)) {
                $word = "codeexecFixed('$word')";
            } elseif ($kind === T_FINALLY && self::jumps($tokens, $next)) {
                // A `return`, `break` or `continue` in `finally` swallows an exception.
                $word = 'catch (\\Throwable $codeexecCaught) {\\Codeexec\\Judge::caught($codeexecCaught); throw $codeexecCaught;} finally';
            } elseif ($kind === T_CATCH) {
                $catch = ['', $depth];
            } elseif ($catch !== null && $kind === T_VARIABLE) {
                $catch[0] = $word;
            } elseif ($word === '{' && $handler !== null) {
                $word = "{ \\Codeexec\\Judge::caught($handler);";
                $handler = null;
            } elseif (in_array($kind, [T_IF, T_ELSEIF], true) && ($tokens[$next] ?? null) === '(') {
                $depths[] = $depth;
                $word .= '(\\Codeexec\\Judge::condition';
            } elseif ($word === '(') {
                $depth++;
            } elseif ($word === ')') {
                $depth--;
                if ($catch !== null && $catch[1] === $depth) {
                    $handler = $catch[0] === '' ? '$codeexecCaught' : $catch[0];
                    if ($catch[0] === '') $word = ' $codeexecCaught)';
                    $catch = null;
                }
                if ($depths && end($depths) === $depth) {
                    array_pop($depths);
                    $word = '))';
                }
            }
            $out .= $word;
        }
        return $out;
    }

    /** The arguments of a call whose parenthesis is the token at $open, as lists of tokens without white space. */
    private static function arguments(array $tokens, int $open): array {
        $parts = [[]];
        $depth = 0;
        for ($i = $open; $i < count($tokens); $i++) {
            $word = is_array($tokens[$i]) ? $tokens[$i][1] : $tokens[$i];
            if (in_array($word, ['(', '[', '{'], true) && ++$depth === 1) continue;
            if (in_array($word, [')', ']', '}'], true) && --$depth === 0) return $parts;
            if ($word === ',' && $depth === 1) {
                $parts[] = [];
                continue;
            }
            $isSpace = is_array($tokens[$i]) && in_array($tokens[$i][0], [T_WHITESPACE, T_COMMENT, T_DOC_COMMENT], true);
            if (!$isSpace) $parts[count($parts) - 1][] = $tokens[$i];
        }
        return [];
    }

    private static function text(array $tokens): string {
        return implode(' ', array_map(fn($token) => is_array($token) ? $token[1] : $token, $tokens));
    }

    /** Whether an expression has no variables and no names, so that it is the same in every run. */
    private static function isConstant(array $tokens): bool {
        foreach ($tokens as $token) {
            if (!is_array($token)) continue;
            if ($token[0] === T_VARIABLE || $token[0] === T_NAME_FULLY_QUALIFIED) return false;
            if ($token[0] === T_STRING && !in_array(strtolower($token[1]), ['true', 'false', 'null'], true)) return false;
        }
        return $tokens !== [];
    }

    /** Whether an asserted expression does not depend on the program: a constant, a list, a function, `... || true`. */
    private static function isAlways(array $tokens): bool {
        if (self::isConstant($tokens)) return true;
        $text = self::text($tokens);
        return preg_match('/\|\| (true|1)$|^(true|1) \|\||^(static )?(fn|function)\b/i', $text)
            || self::isList($tokens);
    }

    /** Whether an expression is one list in brackets. */
    private static function isList(array $tokens): bool {
        $depth = 0;
        foreach ($tokens as $i => $token) {
            $depth += ($token === '[') - ($token === ']');
            if ($depth === 0) return $i > 0 && $i === count($tokens) - 1;
        }
        return false;
    }

    /** Whether the result of a method that asserts does not depend on the program: constant arguments, or one value twice. */
    private static function isFixed(array $arguments, string $name): bool {
        if (in_array($name, ['assertTrue', 'assertNotEmpty', 'assertNotNull'], true)) return self::isAlways($arguments[0] ?? []);
        $isPair = preg_match('/^assert(Same|Equals)/', $name) && count($arguments) > 1;
        if (!$isPair) return $arguments !== [[]] && array_filter($arguments, fn($one) => !self::isConstant($one)) === [];
        return self::isConstant($arguments[0]) && self::isConstant($arguments[1]) || self::text($arguments[0]) === self::text($arguments[1]);
    }

    /** Whether the block that begins at the token `$open` has a `return`, `break` or `continue`. */
    private static function jumps(array $tokens, int $open): bool {
        $depth = 0;
        for ($i = $open; $i < count($tokens); $i++) {
            $word = is_array($tokens[$i]) ? $tokens[$i][1] : $tokens[$i];
            $depth += ($word === '{') - ($word === '}');
            if (is_array($tokens[$i]) && in_array($tokens[$i][0], [T_RETURN, T_BREAK, T_CONTINUE], true)) return true;
            if ($depth === 0) return false;
        }
        return false;
    }

    /** Whether the test that ran has judged the program. */
    public static function hasJudged(string $text): bool {
        return self::$checks > 0 || (self::$conditions > 0 && Link::$calls > 0 && preg_match('/\bthrow\b|\bexit\b|\bdie\b/i', $text));
    }

    public static function begin(): void {
        self::$checks = self::$conditions = Link::$calls = 0;
        self::$swallowed = null;
    }

    /** Runs one test and reports it. */
    public static function guarded(string $name, callable $action, string $text): void {
        self::begin();
        try {
            $action();
            self::settle();
            self::report($name, self::hasJudged($text) ? null : new \Error(self::NOTHING));
        } catch (\Throwable $error) {
            self::report($name, $error);
        }
    }

    /** Runs the test classes and functions that a test source has defined; returns the number of tests. */
    public static function collected(array $classes, array $functions, string $text): int {
        $count = 0;
        foreach ($classes as $class) {
            if (!is_subclass_of($class, \PHPUnit\Framework\TestCase::class) || (new \ReflectionClass($class))->isAbstract()) continue;
            $class::setUpBeforeClass();
            foreach (get_class_methods($class) as $method) {
                $about = (new \ReflectionMethod($class, $method))->getDocComment();
                if (!str_starts_with($method, 'test') && !str_contains((string) $about, '@test')) continue;
                foreach (self::rows($class, $method, (string) $about) as $key => $row) {
                    $count++;
                    self::guarded("$class::$method" . ($key === null ? '' : "[$key]"), fn() => (new $class())->runCase($method, $row), $text);
                }
            }
        }
        foreach ($functions as $function) {
            if (!preg_match('/(^|\\\\)test/i', $function) || preg_match('/^\s*' . preg_quote($function) . '\s*\(/im', $text)) continue;
            if ((new \ReflectionFunction($function))->getNumberOfRequiredParameters() > 0) continue;
            $count++;
            self::guarded($function, $function, $text);
        }
        return $count;
    }

    private static function rows(string $class, string $method, string $about): iterable {
        $provider = preg_match('/@dataProvider\s+(\w+)/', $about, $found) ? $found[1] : null;
        foreach ((new \ReflectionMethod($class, $method))->getAttributes() as $attribute) {
            if (str_ends_with($attribute->getName(), 'DataProvider')) $provider = $attribute->getArguments()[0];
        }
        if ($provider === null) {
            yield null => [];
            return;
        }
        foreach ((new $class())->$provider() as $key => $row) yield (string) $key => $row;
    }

    public static function report(string $name, ?\Throwable $error): void {
        self::$hasPassed = self::$hasPassed || $error === null;
        $result = ['name' => self::cut($name, 300), 'passed' => $error === null, 'message' => '', 'kind' => 'passed'];
        if ($error !== null) {
            $ofProgram = Link::isOfProgram($error);
            // An exception that a test throws means a wrong result. An error that PHP throws means that the test could not run.
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

    /** Defines stand-ins for the functions, classes and constants that the program defines and the tests do not. */
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
        $text = (preg_match('/^\s*<\?(php|=)/i', $text) ? '' : '<?php ') . $text . "\n;";
        // The program is loaded already, so `require` and `include` are removed.
        $text = preg_replace('/^\s*(require|include)(_once)?\b[^;]*;/mi', '', $text);
        self::$source = explode("\n", $text);
        file_put_contents('/tmp/tests.php', self::counting($text));
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
    Judge::begin();
    $codeexecBefore = [get_declared_classes(), get_defined_functions()['user']];
    try {
        $codeexecValue = include Judge::write($codeexecText);
        Judge::settle();
        $codeexecJudged = Judge::hasJudged($codeexecText);
        $codeexecCount = Judge::collected(array_diff(get_declared_classes(), $codeexecBefore[0]),
            array_diff(get_defined_functions()['user'], $codeexecBefore[1]), $codeexecText);
        if (!$codeexecJudged && !$codeexecCount) throw new \Error(Judge::NOTHING);
        if ($codeexecJudged) Judge::report($codeexecName_, null);
    } catch (\Throwable $codeexecError) {
        Judge::report($codeexecName_, $codeexecError);
    }
}
if (Judge::$hasPassed && !Judge::isUsed()) Judge::report('tests', new \Error(Judge::NOT_USED));
Door::say('E');
