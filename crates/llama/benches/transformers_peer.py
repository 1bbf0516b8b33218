"""Runs the workload of generation.rs with transformers and prints tokens per second as JSON.

Usage: python transformers_peer.py FOLDER DTYPE PREFILL PROMPT NEW SAMPLES"""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

folder, dtype, prefill, prompt, new, samples = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
kinds = {"f32": torch.float32, "bf16": torch.bfloat16}
model = AutoModelForCausalLM.from_pretrained(folder, dtype=kinds[dtype])


def seconds(sequences, length, tokens):
    ids = torch.tensor([[100 + place * 37 % 40000 for place in range(length)]] * sequences)
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=0.8, top_k=0,
                       max_new_tokens=tokens, min_new_tokens=tokens, pad_token_id=0)
        best = min(best, time.perf_counter() - start)
    return best


with torch.inference_mode():
    print(json.dumps({"prefill": prefill / seconds(1, prefill, 1), "one": new / seconds(1, prompt, new),
                      "many": samples * new / seconds(samples, prompt, new)}))
