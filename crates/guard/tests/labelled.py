"""Labelled records for `herd safety guard train` and `eval`, from public sets in their own files. Standard library only.

    python3 crates/guard/tests/labelled.py DATA OUTPUT      # DATA has a folder for each set, as ../shared/data

writes OUTPUT/train.jsonl (AdvBench, HarmBench, self-instruct, GSM8K train, MBPP train, CyberSecEval's false refusals, LLMBar, P3;
half of the false refusals in other languages) and one file for each set to measure on: xstest, strongreject, mt-bench, vicuna, ifeval, foreign.
Contrast pairs come from `herd safety make contrast`. Files have mode 0600: they hold requests for harm. Prints counts only.
"""

import csv
import gzip
import json
import os
import sys

data, output = sys.argv[1], sys.argv[2]
os.umask(0o077)
os.makedirs(output, exist_ok=True)
csv.field_size_limit(10**9)


def opened(path):
    return gzip.open(f"{data}/{path}", "rt", encoding="utf-8")


def table(path):
    with opened(path) as file:
        return list(csv.DictReader(file))


def lines(path):
    with opened(path) as file:
        return [json.loads(line) for line in file]


def whole(path):
    with opened(path) as file:
        return json.load(file)


def record(name, text, label, categories=(), language="en", group=None):
    one = {"id": name, "messages": [{"role": "user", "content": text}], "label": label, "judge": "prompt",
           "source": name.rsplit("-", 1)[0], "language": language}
    if categories:
        one["categories"] = list(categories)
    if group:
        one["group"] = group
    return one


def numbered(source, texts, label, **more):
    return [record(f"{source}-{number}", text, label, **more) for number, text in enumerate(texts)]


def write(name, records):
    with open(f"{output}/{name}.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in records)
    print(f"{name}: {len(records)} records, {sum(one['label'] == 'unsafe' for one in records)} unsafe")


HARMBENCH = {"illegal": "S2", "cybercrime_intrusion": "S2", "chemical_biological": "S9", "harassment_bullying": "S10"}
train = numbered("advbench", [row["Behavior"] for row in table("advbench/advbench_behaviors.csv.gz")], "unsafe")
for number, row in enumerate(table("harmbench/harmbench_behaviors_text_all.csv.gz")):
    if row["FunctionalCategory"] == "copyright":
        continue
    text = f"{row['ContextString']}\n\n{row['Behavior']}" if row["ContextString"] else row["Behavior"]
    category = HARMBENCH.get(row["SemanticCategory"])
    train.append(record(f"harmbench-{number}", text, "unsafe", [category] if category else []))
for name in ("seed_tasks", "user_oriented_instructions"):
    train += numbered(f"self_instruct_{name}", [row["instruction"] for row in lines(f"self_instruct/{name}.jsonl.gz")], "safe")
train += numbered("gsm8k", [row["question"] for row in lines("gsm8k/train.jsonl.gz")[:120]], "safe")
train += numbered("mbpp", [row["text"] for row in lines("mbpp/mbpp.jsonl.gz") if 601 <= row["task_id"] <= 974][:120], "safe")
train += numbered("mitre_frr", [row["mutated_prompt"] for row in whole("purplellama/mitre_frr.json.gz")][:300], "safe")
llmbar = []
for name in ("Natural", "Adversarial_GPTInst", "Adversarial_GPTOut", "Adversarial_Manual", "Adversarial_Neighbor"):
    llmbar += [row["input"] for row in whole(f"llmbar/LLMBar_{name}.json.gz")]
train += numbered("llmbar", llmbar[:250], "safe")
p3 = lines("p3_open_subset/p3_open_subset.jsonl.gz")
train += numbered("p3", [row["prompt"] for row in p3[:: len(p3) // 200]][:200], "safe")
foreign = whole("purplellama/frr_multilingual_machine_translated.json.gz")
# A prompt in all its languages is on one side.
for half, keep in ((0, train), (1, (tests := []))):
    for number, row in enumerate(foreign):
        if row["prompt_id"] % 2 == half:
            keep.append(record(f"foreign-{number}", row["mutated_prompt"], "safe", language=row["speaking_language"],
                               group=f"foreign-{row['prompt_id']}"))
write("train", train)
write("foreign", tests)
rows = table("xstest/xstest_prompts.csv.gz")
write("xstest", [record(f"xstest-{row['id']}", row["prompt"], row["label"]) for row in rows])
rows = table("strongreject/strongreject_dataset.csv.gz")
write("strongreject", numbered("strongreject", [row["forbidden_prompt"] for row in rows], "unsafe"))
for name, file in (("mt_bench", "mt_bench_question"), ("vicuna", "vicuna_bench_question")):
    write(name, numbered(name, [row["turns"][0] for row in lines(f"mt_bench/{file}.jsonl.gz")], "safe"))
write("ifeval", numbered("ifeval", [row["prompt"] for row in lines("ifeval/ifeval.jsonl.gz")], "safe"))
