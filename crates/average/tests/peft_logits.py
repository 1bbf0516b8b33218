"""Logits of the tokens 0 to 39 by transformers and PEFT, as JSON.

Usage: python peft_logits.py MODEL [ADAPTER]
"""
import json, sys
import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
if len(sys.argv) > 2:
    from peft import PeftModel
    model = PeftModel.from_pretrained(model, sys.argv[2])
with torch.no_grad():
    print(json.dumps(model(torch.arange(40)[None]).logits.flatten().tolist()))
