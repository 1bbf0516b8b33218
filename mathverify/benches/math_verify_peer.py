"""Runs Math-Verify on rows from standard input, and prints one line `seconds of processor time, verdict` per row."""

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
