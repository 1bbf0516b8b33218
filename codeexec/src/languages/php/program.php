<?php
// The program's side of the harness. The judge does not trust it: it only runs the program and transfers values.
namespace Codeexec;

require '/lib/values.php';

final class Program {
    public static bool $isLoading = false;
    private static array $objects = [];
    private static array $before = [];

    public static function keep($value): array {
        $id = spl_object_id($value) + 1;
        self::$objects[$id] = $value;
        return ['$' => 'o', 'id' => $id, 'c' => get_class($value), 'f' => $value instanceof \Closure];
    }

    public static function find(array $packed) {
        $id = $packed['id'];
        if ($id > 0) return self::$objects[$id];
        // A function of the judge: calling it sends a callback message to the judge.
        return function (...$args) use ($id) {
            Door::say('R' . json(['callback' => $id, 'args' => self::pack($args)]));
            for (;;) {
                $ask = json_decode(Door::say('N'), true, 100000);
                if (array_key_exists('result', $ask)) return unpack_value($ask['result'], [self::class, 'find']);
                if (array_key_exists('thrown', $ask)) throw new \Exception((string) $ask['thrown']);
                Door::say('R' . json(self::answer($ask)));
            }
        };
    }

    public static function pack($value) {
        return pack_value($value, [self::class, 'keep']);
    }

    public static function failure(\Throwable $error): array {
        $kinds = [get_class($error), ...array_values(class_parents($error))];
        $trace = array_filter(explode("\n", (string) $error), fn($line) => !str_contains($line, '/lib/'));
        return ['class' => $kinds[0], 'kinds' => $kinds, 'message' => substr($error->getMessage(), 0, 2000),
            'code' => is_int($error->getCode()) ? $error->getCode() : 0,
            'traceback' => substr(str_replace('/tmp/program.php', 'program.php', implode("\n", $trace)), 0, 20000) . "\n"];
    }

    public static function start(): array {
        $job = json_decode(Door::say('P'), true, 100000);
        $code = $job['code'];
        file_put_contents('/tmp/program.php', (preg_match('/<\?(php|=)/i', $code) ? '' : '<?php ') . $code);
        self::$before = [get_declared_classes(), array_keys(get_defined_constants())];
        self::$isLoading = true;
        return $job;
    }

    public static function stopped(): void {
        $error = error_get_last();
        $fatal = E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR;
        if (self::$isLoading && $error !== null && $error['type'] & $fatal) {
            $text = $error['message'] . ' in program.php on line ' . $error['line'];
            $kind = str_contains($error['message'], 'memory size') ? 'MemoryError' : 'Error';
            Door::say('L' . json(['raised' => ['class' => $kind, 'traceback' => "$kind: $text\n"]]));
        }
    }

    /** The functions, classes and constants that the program defines, for the judge's stand-ins. */
    public static function names(array $globals): array {
        $functions = [];
        foreach (get_defined_functions()['user'] as $name) {
            if (str_starts_with($name, 'codeexec\\')) continue;
            $function = new \ReflectionFunction($name);
            $functions[$function->getName()] = array_map(fn($p) => [$p->isPassedByReference(), $p->isVariadic()], $function->getParameters());
        }
        $classes = [];
        foreach (array_diff(get_declared_classes(), self::$before[0]) as $name) {
            $class = new \ReflectionClass($name);
            if (str_starts_with($name, 'Codeexec\\') || $class->isAnonymous()) continue;
            $classes[$name] = is_subclass_of($name, \Throwable::class) ? array_values(class_parents($name)) : null;
        }
        $constants = [];
        foreach (array_diff(array_keys(get_defined_constants()), self::$before[1]) as $name) {
            if (!is_object(constant($name)) && !str_starts_with($name, 'Codeexec')) $constants[] = [$name, self::pack(constant($name))];
        }
        return compact('functions', 'classes', 'constants');
    }

    public static function serve(): void {
        while (($text = Door::say('N')) !== '') Door::say('R' . json(self::answer(json_decode($text, true, 100000))));
    }

    private static function answer(array $ask): array {
        try {
            $on = isset($ask['on']) ? self::find($ask['on']) : null;
            $args = isset($ask['args']) ? unpack_value($ask['args'], [self::class, 'find']) : [];
            switch ($ask['op']) {
                case 'call':
                    $target = $on ?? $ask['name'];
                    if ($on === null && !function_exists($target)) throw new \Error("Call to undefined function $target()");
                    $before = json(self::pack($args));
                    $passed = [];
                    foreach ($args as $key => $_) $passed[$key] = &$args[$key];
                    $value = call_user_func_array($target, $passed);
                    $after = self::pack($args);
                    return ['value' => self::pack($value), 'changed' => json($after) === $before ? null : $after];
                case 'new': $value = new $ask['class'](...$args); break;
                case 'method': $value = $on->{$ask['name']}(...$args); break;
                case 'static': $value = [$ask['class'], $ask['name']](...$args); break;
                case 'constant': $value = constant($ask['class'] . '::' . $ask['name']); break;
                case 'property': $value = $ask['class']::${$ask['name']}; break;
                case 'get': $value = $on->{$ask['name']}; break;
                case 'set': $on->{$ask['name']} = $args[0]; $value = null; break;
                case 'has': $value = isset($on->{$ask['name']}); break;
                case 'string': $value = (string) $on; break;
                case 'count': $value = count($on); break;
                case 'at': $value = $on[$args[0]]; break;
                case 'put': if ($args[0] === null) $on[] = $args[1]; else $on[$args[0]] = $args[1]; $value = null; break;
                case 'isset': $value = isset($on[$args[0]]); break;
                case 'unset': unset($on[$args[0]]); $value = null; break;
                case 'items':
                    $value = [];
                    foreach ($on as $key => $item) $value[] = [$key, $item];
                    break;
                case 'is': $value = is_a($on, $ask['class']); break;
                default: throw new \Error('an unknown request');
            }
            return ['value' => self::pack($value)];
        } catch (\Throwable $error) {
            return ['raised' => self::failure($error)];
        }
    }
}

register_shutdown_function([Program::class, 'stopped']);
Program::start();
try {
    include '/tmp/program.php';
} catch (\Throwable $codeexecError) {
    Program::$isLoading = false;
    Door::say('L' . json(['raised' => Program::failure($codeexecError)]));
    exit(255);
}
Program::$isLoading = false;
unlink('/tmp/program.php');
Door::say('L' . json(['loaded' => Program::names($GLOBALS)]));
Program::serve();
