"""The peers: a plain PyTorch training loop, and transformers' generate. Prints one line of JSON at the end.

The loop is what one writes without a framework: float32 weights under autocast to bfloat16, scaled_dot_product_attention with
grouped heads, fused AdamW, gradient clipping, torch.compile of the layer; activation checkpointing for rows of 32K on, as herd has it.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

sys.path.insert(0, str(Path(__file__).resolve().parent))

from shapes import SHAPES  # noqa: E402


class Layer(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.heads, self.kv_heads, self.width = s["heads"], s["kv_heads"], s["hidden"] // s["heads"]
        linear = lambda i, o: nn.Linear(i, o, bias=False)  # noqa: E731
        self.q, self.o = linear(s["hidden"], self.heads * self.width), linear(self.heads * self.width, s["hidden"])
        self.k, self.v = (linear(s["hidden"], self.kv_heads * self.width) for _ in range(2))
        self.gate, self.up, self.down = linear(s["hidden"], s["inner"]), linear(s["hidden"], s["inner"]), linear(s["inner"], s["hidden"])
        self.before, self.after = nn.RMSNorm(s["hidden"], eps=1e-5), nn.RMSNorm(s["hidden"], eps=1e-5)

    def forward(self, x, cos, sin):
        rows, seq, _ = x.shape
        h = self.before(x)
        turn = lambda t: t * cos + torch.cat((-t[..., self.width // 2 :], t[..., : self.width // 2]), -1) * sin  # noqa: E731
        split = lambda t, heads: t.view(rows, seq, heads, self.width).transpose(1, 2)  # noqa: E731
        q, k, v = split(self.q(h), self.heads), split(self.k(h), self.kv_heads), split(self.v(h), self.kv_heads)
        q, k = turn(q).to(v.dtype), turn(k).to(v.dtype)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(out.transpose(1, 2).reshape(rows, seq, -1))
        h = self.after(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.embed = nn.Embedding(s["vocab"], s["hidden"])
        self.layers = nn.ModuleList(Layer(s) for _ in range(s["layers"]))
        self.norm = nn.RMSNorm(s["hidden"], eps=1e-5)
        self.width, self.saves = s["hidden"] // s["heads"], False
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids):
        x = self.embed(ids)
        angle = torch.arange(ids.shape[1], device=ids.device)[:, None] * 500000.0 ** (
            -torch.arange(0, self.width, 2, device=ids.device) / self.width)
        cos, sin = torch.cat((angle, angle), -1).cos(), torch.cat((angle, angle), -1).sin()
        for layer in self.layers:
            x = checkpoint(layer, x, cos, sin, use_reentrant=False) if self.saves else layer(x, cos, sin)
        return F.linear(self.norm(x), self.embed.weight)


def train(options):
    torch.manual_seed(1)
    device = torch.device(options.device)
    model = Model(SHAPES[options.shape]).to(device)
    model.saves = options.length >= 32768
    compiled = device.type == "cuda"
    if compiled:
        for layer in model.layers:
            layer.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    row_count = options.batch_tokens // options.length
    at_once = max(1, 16384 // options.length)
    speeds = []
    wait = torch.cuda.synchronize if compiled else lambda: None
    for _ in range(options.steps):
        ids = torch.randint(97, 123, (row_count, options.length + 1), device=device)
        wait()
        start = time.monotonic()
        for part in ids.split(at_once):
            with torch.autocast(device.type, torch.bfloat16, enabled=compiled):
                logits = model(part[:, :-1])
                loss = F.cross_entropy(logits.flatten(0, 1).float(), part[:, 1:].flatten(), reduction="sum") / ids[:, 1:].numel()
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait()
        speeds.append(options.batch_tokens / (time.monotonic() - start))
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if compiled else None
    return {"tokens_per_second": statistics.median(speeds[options.warm :]), "peak_gb": peak, "compiled": compiled}


def generate(options):
    try:
        from transformers import LlamaForCausalLM
        from transformers import __version__ as version
    except ImportError:
        return {"missing": "transformers is not installed"}
    device = torch.device(options.device)
    model = LlamaForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16 if options.device != "cpu" else torch.float32).to(device).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    ids = torch.randint(97, 123, (options.sequences, options.prompt), device=device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def seconds(tokens):
        wait()
        start = time.monotonic()
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0,
                                 min_new_tokens=tokens, max_new_tokens=tokens)
        wait()
        assert out.shape[1] == options.prompt + tokens, out.shape
        return time.monotonic() - start

    seconds(2)
    long, short = seconds(options.tokens), seconds(1)
    assert long > short, (long, short)
    return {"tokens_per_second": options.sequences * (options.tokens - 1) / (long - short), "version": version}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("train")
    one.set_defaults(run=train)
    one.add_argument("--shape", choices=SHAPES, required=True)
    for name in ("length", "batch-tokens", "steps", "warm"):
        one.add_argument(f"--{name}", type=int, required=True)
    two = commands.add_parser("generate")
    two.set_defaults(run=generate)
    two.add_argument("--model", required=True)
    for name in ("sequences", "prompt", "tokens"):
        two.add_argument(f"--{name}", type=int, required=True)
    for parsed in (one, two):
        parsed.add_argument("--device", required=True)
    options = parser.parse_args()
    print(json.dumps(options.run(options)))


if __name__ == "__main__":
    main()
