"""Answers of `herd generate` to GSM8K problems, judged: how the figures on formatting tokens and NLL in dpo/README.md were made.

Usage: python answers.py pairs GENERATED GOLD OUT     pairs for `herd mathverify check` (GOLD: GSM8K's own file, .jsonl.gz)
       python answers.py report GENERATED VERDICTS    accuracy with its 95% interval (Wilson), and how answers end

An answer *repeats its tail* when its end is one stretch of at least 8 characters three times over; it *stops abruptly* when the
model ended it by itself without the line `#### N` that GSM8K's answers end with; it is *cut* when it reached the limit.
"""
import gzip, json, math, re, sys


def read(path):
    with (gzip.open(path, "rt") if path.endswith(".gz") else open(path)) as file:
        return [json.loads(line) for line in file]


def repeats(text):
    text = text.rstrip()
    return any(text[-size:] == text[-2 * size:-size] == text[-3 * size:-2 * size]
               for size in range(8, len(text) // 3 + 1))


def wilson(right, count, z=1.96):
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


if sys.argv[1] == "pairs":
    gold = read(sys.argv[3])
    with open(sys.argv[4], "w") as out:
        for row in read(sys.argv[2]):
            answer = gold[int(row["id"].split("-")[1])]["answer"].split("####")[1].strip()
            out.write(json.dumps({"id": row["id"], "pred": row["response"], "gold": answer}) + "\n")
else:
    rows, verdicts = read(sys.argv[2]), {v["id"]: v["verdict"] for v in read(sys.argv[3])}
    count = len(rows)
    right = sum(verdicts[row["id"]] == "equal" for row in rows)
    low, high = wilson(right, count)
    cut = [row["finish_reason"] == "length" for row in rows]
    abrupt = [not c and not re.search(r"####\s*\S", row["response"]) for c, row in zip(cut, rows)]
    percent = lambda flags: f"{100 * sum(flags) / count:.1f}%"
    print(f"{count} answers: {100 * right / count:.1f}% right [{100 * low:.1f}, {100 * high:.1f}]; "
          f"repeated tail {percent([repeats(row['response']) for row in rows])}, abrupt stop {percent(abrupt)}, "
          f"cut {percent(cut)}; {sum(row['tokens'] for row in rows) / count:.0f} tokens each")
