"""lm-evaluation-harness's verdicts on GSM8K answers: makes gsm8k.jsonl.gz beside this file.

    pip install --no-deps lm_eval==0.4.13 && pip install numpy regex pyyaml
    python make_gsm8k.py                                   # the stored cases: synthetic answers
    python make_gsm8k.py example_model_solutions.jsonl.gz OUT   # the published model solutions

Filters and options are read from the harness's own task files; the metric is its function, extracted from its module.
"""

import ast, gzip, json, os, random, re, sys, types

import numpy as np
import yaml

root = next(p for p in sys.path if os.path.isdir(os.path.join(p, "lm_eval")))
for name in ("lm_eval", "lm_eval.api", "lm_eval.filters"):  # only the filter, not the harness with its dependencies
    module = types.ModuleType(name)
    module.__path__ = [os.path.join(root, *name.split("."))]
    sys.modules[name] = module
registry = types.ModuleType("lm_eval.api.registry")
registry.register_filter = lambda *names: (lambda cls: cls)
sys.modules["lm_eval.api.registry"] = registry
from lm_eval.filters.extraction import RegexFilter

source = open(os.path.join(root, "lm_eval/api/metrics.py")).read()
function = next(n for n in ast.parse(source).body if getattr(n, "name", "") == "exact_match_hf_evaluate")
space = {"np": np, "re": re, "string": __import__("string")}
exec(compile(ast.Module([function], []), "metrics.py", "exec"), space)


def task(file, filter_name):
    text = open(os.path.join(root, "lm_eval/tasks/gsm8k", file)).read()
    config = yaml.safe_load(text)
    steps = next(f for f in config["filter_list"] if f["name"] == filter_name)["filter"]
    arguments = {k: v for k, v in steps[0].items() if k != "function"}
    ignore = config["metric_list"][0]["regexes_to_ignore"]
    return RegexFilter(**arguments), ignore


FILTERS = {
    "strict": task("gsm8k-cot-llama.yaml", "strict-match"),
    "flexible": task("gsm8k-cot-llama.yaml", "flexible-extract"),
    "hashes": task("gsm8k.yaml", "strict-match"),
    "the-answer-is": task("gsm8k-cot-zeroshot.yaml", "strict-match"),
}


def verdicts(response, answer):
    found = {}
    for name, (regex, ignore) in FILTERS.items():
        extracted = regex.apply([[response]], [{}])[0][0]
        match = space["exact_match_hf_evaluate"]([extracted], [answer], regexes_to_ignore=ignore, ignore_case=True)
        found[name] = [extracted, bool(match["exact_match"])]
    return found


def main():
    rows = []
    if len(sys.argv) == 3:
        for line in gzip.open(sys.argv[1], "rt"):
            item = json.loads(line)
            answer = item["ground_truth"].rsplit("A: ", 1)
            reference = answer[0] + "#### " + answer[1]
            for key, value in item.items():
                if isinstance(value, dict):
                    for text in (value["solution"], value["solution"].replace("A: ", "The answer is ") + ".",
                                 value["solution"].replace("A: ", "The final answer is $"),
                                 value["solution"].replace("A: ", "#### ")):
                        rows.append({"response": text, "reference": reference, "correct": value["is_correct"], "verdicts": verdicts(text, reference)})
        path = sys.argv[2]
    else:
        rng = random.Random(7)
        numbers = ["7", "1,234", "-3", "0.5", "12.50", "$40", "1/2", "3.", "1,000,000", ".5", "--2", "1.2.3", "10%", "7.0"]
        endings = ["The answer is {}.", "The final answer is {}", "The final answer is {}.", "#### {}", "A: {}", "So it is {} dollars.",
                   "the answer is {}", "The answer is {}!\n#### {}", "The final answer is {}\nThe final answer is {} apples", "{}", "$\\boxed{{{}}}$", "none"]
        for _ in range(600):
            x, y = rng.choice(numbers), rng.choice(numbers)
            response = "".join(rng.choice(["", "First 3 + 4 = 7.\n", "He has $1,200 - 5.5 left. ", "Q: "]) for _ in range(2))
            response += rng.choice(endings).format(x, y)
            reference = "a = <<1+1=2>>2\n#### " + rng.choice([x, y, x.replace(",", ""), "7"])
            rows.append({"response": response, "reference": reference, "verdicts": verdicts(response, reference)})
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gsm8k.jsonl.gz")
    with gzip.GzipFile(path, "wb", mtime=0) as out:
        for row in rows:
            out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
    print(len(rows), "answers ->", path)


main()
