//! Jinja2's tests that differ from minijinja's; templates apply them to messages and tools.
//!
//! Jinja2 uses Python's definitions: a value is `iterable` if `iter(x)` works, a `sequence` if it has a length and
//! can be indexed (so strings and mappings are sequences), a `number` if it is an instance of `Number` (so `true` is
//! one).

use minijinja::Environment;
use minijinja::value::{Value, ValueKind};

/// Adds the tests.
pub(crate) fn add_tests(environment: &mut Environment) {
    environment.add_test("iterable", iterable);
    environment.add_test("sequence", sequence);
    environment.add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    environment.add_test("integer", |value: &Value| value.kind() == ValueKind::Number && value.is_integer());
    environment.add_test("float", |value: &Value| value.kind() == ValueKind::Number && !value.is_integer());
}

fn iterable(value: &Value) -> bool {
    use ValueKind::{Bytes, Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Bytes | Iterable | Map | Seq | String | Undefined)
}

fn sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Bytes | ValueKind::Map | ValueKind::Seq | ValueKind::String | ValueKind::Undefined
    )
}
