"""Counts how the answers of a `herd eval --tasks gsm8k-0shot` run end, for the figures on formatting tokens and NLL in the log.

Usage: python answers.py RUN...

An answer *repeats its tail* if it ends with the same text of at least 8 characters three times in sequence. It *stops abruptly*
if the model ended it without the line `#### N` with which GSM8K's answers end. It is *cut* if it reached the limit.
"""
import json, re, sys


def repeats(text):
    text = text.rstrip()
    return any(text[-size:] == text[-2 * size:-size] == text[-3 * size:-2 * size]
               for size in range(8, len(text) // 3 + 1))


for run in sys.argv[1:]:
    with open(f"{run}/samples.jsonl") as file:
        rows = [json.loads(line) for line in file]
    cut = [row["finish_reason"] == "length" for row in rows]
    abrupt = [not c and not re.search(r"####\s*\S", row["response"]) for c, row in zip(cut, rows)]
    percent = lambda flags: f"{100 * sum(flags) / len(rows):.1f}%"
    print(f"{run}: {len(rows)} answers, {percent([row['passed'] for row in rows])} right; "
          f"repeated tail {percent([repeats(row['response']) for row in rows])}, abrupt stop {percent(abrupt)}, "
          f"cut {percent(cut)}; {sum(row['tokens'] for row in rows) / len(rows):.0f} tokens each")
