<?php
// The part of PHPUnit that tests of functions and classes use.
namespace PHPUnit\Framework;

class AssertionFailedError extends \Exception {}
class ExpectationFailedException extends AssertionFailedError {}

abstract class TestCase {
    private ?string $expected = null;
    private ?string $message = null;

    public static function setUpBeforeClass(): void {}
    protected function setUp(): void {}
    protected function tearDown(): void {}

    public function runCase(string $method, array $arguments): void {
        $this->setUp();
        try {
            $this->$method(...array_values($arguments));
        } catch (\Throwable $error) {
            $isExpected = $this->expected !== null && !$error instanceof AssertionFailedError && !$error instanceof \Codeexec\ProgramEnded
                && ($error instanceof $this->expected || get_class($error) === ltrim($this->expected, '\\'));
            if (!$isExpected) throw $error;
            if ($this->message !== null) self::check(str_contains($error->getMessage(), $this->message), 'the message is ' . $error->getMessage());
            \Codeexec\Judge::$checks++;
            return;
        } finally {
            $this->tearDown();
        }
        if ($this->expected !== null) self::check(false, $this->expected . ' was not thrown');
    }

    public function expectException(string $class): void { $this->expected = $class; }
    public function expectExceptionMessage(string $message): void { $this->expected ??= \Throwable::class; $this->message = $message; }

    /** An assertion whose result does not depend on the program: it runs, but is not counted. */
    public static function codeexecFixed(string $name): callable {
        return function (...$arguments) use ($name) {
            $before = \Codeexec\Judge::$checks;
            static::$name(...$arguments);
            \Codeexec\Judge::$checks = $before;
        };
    }

    private static function check(bool $holds, string $message): void {
        \Codeexec\Judge::$checks++;
        if (!$holds) throw new ExpectationFailedException($message);
    }
    private static function shown($value): string {
        return is_object($value) ? get_class($value) : substr((string) json_encode($value, JSON_PARTIAL_OUTPUT_ON_ERROR), 0, 200);
    }
    private static function compare(bool $holds, $expected, $got, string $how, string $message): void {
        self::check($holds, $message !== '' ? $message : self::shown($got) . " $how " . self::shown($expected));
    }
    /** Whether two values are equal as in PHPUnit: numbers by value. An object of the program never equals plain data. */
    private static function same($a, $b): bool {
        if (is_object($a) !== is_object($b)) return false;
        if (is_bool($a) !== is_bool($b) || is_array($a) !== is_array($b) || ($a === null) !== ($b === null)) return false;
        if (is_array($a)) {
            if (count($a) !== count($b)) return false;
            foreach ($a as $key => $value) if (!array_key_exists($key, $b) || !self::same($value, $b[$key])) return false;
            return true;
        }
        if (is_string($a) && is_string($b)) return $a === $b;
        return $a == $b;
    }

    public static function assertSame($expected, $got, string $message = ''): void { self::compare($expected === $got, $expected, $got, 'is not', $message); }
    public static function assertNotSame($expected, $got, string $message = ''): void { self::compare($expected !== $got, $expected, $got, 'is', $message); }
    public static function assertEquals($expected, $got, string $message = ''): void { self::compare(self::same($expected, $got), $expected, $got, 'is not', $message); }
    public static function assertNotEquals($expected, $got, string $message = ''): void { self::compare(!self::same($expected, $got), $expected, $got, 'is', $message); }
    public static function assertEqualsWithDelta($expected, $got, float $delta, string $message = ''): void {
        self::compare((is_int($got) || is_float($got)) && abs($expected - $got) <= $delta, $expected, $got, 'is not near', $message);
    }
    public static function assertEqualsCanonicalizing($expected, $got, string $message = ''): void {
        if (is_array($expected) && is_array($got)) { sort($expected); sort($got); }
        self::assertEquals($expected, $got, $message);
    }
    public static function assertTrue($got, string $message = ''): void { self::compare($got === true, true, $got, 'is not', $message); }
    public static function assertFalse($got, string $message = ''): void { self::compare($got === false, false, $got, 'is not', $message); }
    public static function assertNull($got, string $message = ''): void { self::compare($got === null, null, $got, 'is not', $message); }
    public static function assertNotNull($got, string $message = ''): void { self::compare($got !== null, null, $got, 'is', $message); }
    public static function assertEmpty($got, string $message = ''): void { self::compare(empty($got), [], $got, 'is not', $message); }
    public static function assertNotEmpty($got, string $message = ''): void { self::compare(!empty($got), [], $got, 'is', $message); }
    public static function assertCount(int $count, $got, string $message = ''): void {
        self::compare((is_array($got) || $got instanceof \Countable) && count($got) === $count, $count, $got, 'has not the size', $message);
    }
    public static function assertContains($item, iterable $got, string $message = ''): void {
        $found = false;
        foreach ($got as $one) $found = $found || $one === $item;
        self::compare($found, $item, $got, 'lacks', $message);
    }
    public static function assertNotContains($item, iterable $got, string $message = ''): void {
        $found = false;
        foreach ($got as $one) $found = $found || $one === $item;
        self::compare(!$found, $item, $got, 'has', $message);
    }
    public static function assertArrayHasKey($key, $got, string $message = ''): void { self::compare(is_array($got) && array_key_exists($key, $got), $key, $got, 'lacks the key', $message); }
    public static function assertStringContainsString(string $part, $got, string $message = ''): void { self::compare(is_string($got) && str_contains($got, $part), $part, $got, 'lacks', $message); }
    public static function assertGreaterThan($expected, $got, string $message = ''): void { self::compare(!is_object($got) && $got > $expected, $expected, $got, 'is not greater than', $message); }
    public static function assertGreaterThanOrEqual($expected, $got, string $message = ''): void { self::compare(!is_object($got) && $got >= $expected, $expected, $got, 'is less than', $message); }
    public static function assertLessThan($expected, $got, string $message = ''): void { self::compare(!is_object($got) && $got < $expected, $expected, $got, 'is not less than', $message); }
    public static function assertLessThanOrEqual($expected, $got, string $message = ''): void { self::compare(!is_object($got) && $got <= $expected, $expected, $got, 'is greater than', $message); }
    public static function assertIsInt($got, string $message = ''): void { self::compare(is_int($got), 'an integer', $got, 'is not', $message); }
    public static function assertIsFloat($got, string $message = ''): void { self::compare(is_float($got), 'a float', $got, 'is not', $message); }
    public static function assertIsString($got, string $message = ''): void { self::compare(is_string($got), 'a string', $got, 'is not', $message); }
    public static function assertIsArray($got, string $message = ''): void { self::compare(is_array($got), 'an array', $got, 'is not', $message); }
    public static function assertIsBool($got, string $message = ''): void { self::compare(is_bool($got), 'a boolean', $got, 'is not', $message); }
    public static function assertInstanceOf(string $class, $got, string $message = ''): void { self::compare($got instanceof $class, $class, $got, 'is not', $message); }
    public static function assertMatchesRegularExpression(string $pattern, $got, string $message = ''): void { self::compare(is_string($got) && preg_match($pattern, $got) === 1, $pattern, $got, 'does not match', $message); }
    public static function fail(string $message = ''): void { self::check(false, $message); }
}
