"""A program like those of HumanEval, with its tests. It takes about a millisecond: two functions, seven asserts, and primality
tests of a thousand numbers."""

import math
from typing import List


def has_close_elements(numbers: List[float], threshold: float) -> bool:
    """Whether any two of the numbers are closer to each other than the threshold."""
    ordered = sorted(numbers)
    return any(b - a < threshold for a, b in zip(ordered, ordered[1:]))


def is_prime(n: int) -> bool:
    """Whether n is a prime."""
    if n < 2:
        return False
    return all(n % divisor for divisor in range(2, math.isqrt(n) + 1))


assert has_close_elements([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.3) is True
assert has_close_elements([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.05) is False
assert has_close_elements([1.0, 2.0, 5.9, 4.0, 5.0], 0.95) is True
assert has_close_elements([1.0, 2.0, 5.9, 4.0, 5.0], 0.8) is False
assert is_prime(997)
assert not is_prime(1001)
assert sum(is_prime(n) for n in range(1000)) == 168
