"""Runs Math-Verify on JSON rows from standard input; prints one line per row: CPU seconds, a space, and the verdict."""

import json
import logging
import sys
import time

from math_verify import parse, verify

logging.disable(logging.CRITICAL)
verify(parse("$1$"), parse("$1$"))
for line in sys.stdin:
    row = json.loads(line)
    start = time.process_time()
    try:
        equal = verify(parse(row["gold"]), parse(row["pred"]))
    except Exception:
        equal = False
    print(time.process_time() - start, bool(equal))
