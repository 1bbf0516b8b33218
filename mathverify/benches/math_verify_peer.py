"""Math-Verify on rows from standard input: one line `seconds verdict` per row."""

import json
import logging
import sys
import time

from math_verify import parse, verify

logging.disable(logging.CRITICAL)
verify(parse("$1$"), parse("$1$"))
for line in sys.stdin:
    row = json.loads(line)
    start = time.perf_counter()
    try:
        equal = verify(parse(row["gold"]), parse(row["pred"]))
    except Exception:
        equal = False
    print(time.perf_counter() - start, bool(equal))
