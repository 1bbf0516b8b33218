"""Finds assertions whose result does not depend on the program. Such assertions judge nothing and are not counted.

`truth` finds expressions that are true or false whatever the program does: constants, a generator or a list of comparisons,
`... or True`, a value compared with itself.
"""

import ast
import operator
import re

QUESTIONS = (ast.Compare, ast.BoolOp)
UNKNOWN = object()
COMPARISONS = {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
               ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
               ast.In: lambda item, values: item in values, ast.NotIn: lambda item, values: item not in values}


class AlwaysTrue(ValueError):
    """An assertion that was meant to compare but cannot fail."""

    def __init__(self, what):
        super().__init__("an assertion of " + what + " is always true, so it judges nothing")


def is_question(node):
    return isinstance(node, QUESTIONS) or isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def is_fixed(node):
    """Whether an expression has no name, call or attribute, so that it is the same in every run."""
    if isinstance(node, (ast.Name, ast.Call, ast.Attribute, ast.Await)):
        return False
    return all(map(is_fixed, ast.iter_child_nodes(node)))


def same(one, other):
    """Whether two syntax trees are equal but for their locations. `ast.dump` takes much longer, and most pairs differ at once."""
    if type(one) is not type(other):
        return False
    if isinstance(one, ast.AST):
        return all(same(getattr(one, field, None), getattr(other, field, None)) for field in one._fields)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def truth(node):
    """The truth value of an expression if it is known before the run; otherwise None."""
    if isinstance(node, ast.Constant):
        return bool(node.value)
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return None if any(isinstance(item, ast.Starred) for item in node.elts) else bool(node.elts)
    if isinstance(node, ast.Dict):
        return None if None in node.keys else bool(node.keys)
    if isinstance(node, (ast.Lambda, ast.GeneratorExp)):
        return True
    if isinstance(node, (ast.ListComp, ast.SetComp)):
        return True if is_question(node.elt) and not any(part.ifs for part in node.generators) else None
    if isinstance(node, ast.JoinedStr):
        return True if node.values else False
    if isinstance(node, ast.NamedExpr):
        return truth(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        known = truth(node.operand)
        return None if known is None else not known
    if isinstance(node, ast.BoolOp):
        known = [truth(value) for value in node.values]
        decides = isinstance(node.op, ast.Or)
        return decides if decides in known else (not decides) if None not in known else None
    if isinstance(node, ast.IfExp):
        known = truth(node.test)
        if known is not None:
            return truth(node.body if known else node.orelse)
        return truth(node.body) if truth(node.body) == truth(node.orelse) else None
    if isinstance(node, ast.Compare):
        return truth_of_comparison(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args and is_question(node.args[0]):
        return True if node.func.id in ("str", "repr", "isinstance", "callable") else None
    return None


def constant(node):
    """The value of a constant, of a number with a sign, or of a tuple or list of these; UNKNOWN for all else. It computes
    nothing, so the value is at most as large as the source.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = constant(node.operand)
        if type(value) not in (int, float, complex):
            return UNKNOWN
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, (ast.Tuple, ast.List)):
        values = [constant(item) for item in node.elts]
        if UNKNOWN in values:
            return UNKNOWN
        return tuple(values) if isinstance(node, ast.Tuple) else values
    return UNKNOWN


def truth_of_constants(node):
    """The truth value of a comparison that is the same in every run; None if it raises an exception. A comparison that cannot
    be evaluated here, such as one with arithmetic, counts as true.
    """
    values = [constant(part) for part in (node.left, *node.comparators)]
    for op, left, right in zip(node.ops, values, values[1:]):
        # Only these have one object each; whether two equal numbers or texts are one object depends on the compiler.
        is_known = not isinstance(op, (ast.Is, ast.IsNot)) or any(value is None or type(value) is bool for value in (left, right))
        if left is UNKNOWN or right is UNKNOWN or not is_known:
            return True
        try:
            if not COMPARISONS[type(op)](left, right):
                return False
        except TypeError:
            return None
    return True


def truth_of_comparison(node):
    if is_fixed(node):
        return truth_of_constants(node)
    if len(node.ops) != 1:
        return None
    op, left, right = node.ops[0], node.left, node.comparators[0]
    if isinstance(op, (ast.Eq, ast.Is, ast.LtE, ast.GtE)) and same(left, right):
        return True
    is_none = isinstance(right, ast.Constant) and right.value is None
    if is_question(left) and is_none and isinstance(op, (ast.IsNot, ast.NotEq)):
        return True
    if is_question(left) and isinstance(op, ast.In) and isinstance(right, (ast.Tuple, ast.List, ast.Set)):
        values = {item.value for item in right.elts if isinstance(item, ast.Constant)}
        return True if {True, False} <= values else None
    return None


def assertion(test):
    """Classifies an asserted expression: None if it judges; a noun for it if it was meant to judge; otherwise "nothing"."""
    if truth(test) is not True:
        return None
    if isinstance(test, ast.Tuple):
        return "a tuple"
    if isinstance(test, (ast.List, ast.Set, ast.Dict, ast.ListComp, ast.SetComp)):
        return "a collection that is not empty"
    if isinstance(test, ast.GeneratorExp):
        return "a generator, which is not run,"
    if isinstance(test, ast.Lambda):
        return "a function, which is not called,"
    has_call = any(isinstance(part, ast.Call) for part in ast.walk(test))
    if isinstance(test, (ast.BoolOp, ast.JoinedStr, ast.Call)) and has_call:
        return "this expression"
    return "nothing"


def told_number(message):
    """Whether an assertion's message is a constant other than text, as if it were compared: `assert f(1), 2`."""
    return isinstance(message, ast.Constant) and not isinstance(message.value, (str, bytes, type(None)))


def judges_nothing(function, args):
    """Whether the result of a call that asserts does not depend on the program."""
    if not args:
        return False
    if all(is_fixed(arg) for arg in args):
        return True
    if re.match(r"_?assert_?(true|_)?$", function.lower()):
        return truth(args[0]) is True
    if re.match(r"_?assert_?false$", function.lower()):
        return truth(args[0]) is False
    if is_question(args[0]) and re.match(r"_?assert_?is_?(not_?none|instance)$", function.lower()):
        return True
    return len(args) > 1 and same(args[0], args[1]) and not re.search("not|raises", function.lower())


def plain_line(text):
    """Whether an assertion in one line needs no instrumentation: most have the form `assert f(...) == value`."""
    left, sign, right = text[7:].partition(" == ")
    if not sign or left.strip() == right.strip() or left[:1] in "[{('\"" or left.count("(") != left.count(")"):
        return False
    return not any(word in text for word in (" or ", "lambda", " for ", " if ", " is ", " in ", " and ", "\"", "'"))


def jumps(statements):
    """Whether a `finally` block has a `return`, `break` or `continue`, which swallows exceptions."""
    for statement in statements:
        if isinstance(statement, (ast.Return, ast.Break, ast.Continue)):
            return True
        if isinstance(statement, (ast.If, ast.With, ast.Try)):
            inner = [statement.body, getattr(statement, "orelse", []), getattr(statement, "finalbody", [])]
            if any(jumps(part) for part in inner):
                return True
    return False


def may_swallow(item):
    """Whether the context manager of a `with` may suppress an exception that the test does not expect."""
    made = item.context_expr
    if not isinstance(made, ast.Call):
        return True
    name = made.func.attr if isinstance(made.func, ast.Attribute) else getattr(made.func, "id", "")
    if name in ("subTest", "open", "patch", "object", "redirect_stdout", "redirect_stderr", "catch_warnings"):
        return False
    return not any(isinstance(part, ast.Name) and part.id == "AssertionError" for arg in made.args for part in ast.walk(arg))
