"""lm-eval against a running `herd serve`. Usage: python lm_eval_client.py http://127.0.0.1:8000/v1 MODEL_FOLDER

It runs chat with generate_until, completions with generate_until, and multiple choice by log-probabilities of given text, with few-shot
examples, on small tasks written here; nothing is fetched. MODEL_FOLDER has the tokenizer of the served model.
"""

import json
import os
import sys
import tempfile

os.environ.update(HF_DATASETS_OFFLINE="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OPENAI_API_KEY="none")

import lm_eval
import openai
from lm_eval.tasks import TaskManager

base, tokenizer = sys.argv[1], sys.argv[2]
name = openai.OpenAI(base_url=base, api_key="none").models.list().data[0].id
CAPITALS = [("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid"), ("Germany", "Berlin"), ("Japan", "Tokyo"), ("Greece", "Athens")]
OTHERS = ["Oslo", "Lima"]

with tempfile.TemporaryDirectory() as folder:
    data = os.path.join(folder, "capitals.jsonl")
    with open(data, "w") as file:
        for i, (country, capital) in enumerate(CAPITALS):
            choices = [capital, *OTHERS]
            choices = choices[i % 3:] + choices[:i % 3]
            file.write(json.dumps({"country": country, "capital": capital, "choices": choices, "label": choices.index(capital)}) + "\n")
    common = {
        "dataset_path": "json", "dataset_kwargs": {"data_files": {"train": data, "test": data}}, "training_split": "train",
        "fewshot_split": "train", "test_split": "test", "doc_to_text": "Question: What is the capital of {{country}}?\nAnswer:",
        "num_fewshot": 2, "fewshot_config": {"sampler": "first_n"},
    }
    generated = {
        **common, "output_type": "generate_until", "doc_to_target": " {{capital}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12, "do_sample": False, "temperature": 0.0},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_punctuation": True}],
    }
    chosen = {
        **common, "output_type": "multiple_choice", "doc_to_target": "label", "doc_to_choice": "choices",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    arguments = {"model": name, "num_concurrent": 2, "max_retries": 1, "tokenizer": tokenizer, "tokenizer_backend": "huggingface",
                 "timeout": 3600}

    def run(kind, path, task, label, **more):
        results = lm_eval.simple_evaluate(
            model=kind, model_args={**arguments, "base_url": base + path}, tasks=[{**task, "task": label}],
            task_manager=TaskManager(include_defaults=False), bootstrap_iters=0, log_samples=True, **more)
        metrics = results["results"][label]
        assert len(results["samples"][label]) == len(CAPITALS), label
        return {key: round(value, 3) for key, value in metrics.items() if isinstance(value, float)}

    shown = {
        "chat": run("local-chat-completions", "/chat/completions", generated, "chat", apply_chat_template=True, fewshot_as_multiturn=True),
        "completions": run("local-completions", "/completions", generated, "completions"),
        "choice": run("local-completions", "/completions", chosen, "choice"),
    }
accuracy = next(value for key, value in shown["choice"].items() if key.startswith("acc,"))
assert accuracy >= 0.5, shown
print(f"lm-eval {lm_eval.__version__}: everything as expected,", shown)
