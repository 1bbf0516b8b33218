"""A plain PyTorch pretraining loop of the model that `pretrain/benches/torch.rs` trained: prints one JSON line with its speed,
held-out loss and peak memory.

Usage: python torch_peer.py RESOLVED MODEL TRAIN VALID   (RESOLVED: {"config": keys of herd pretrain, "steps": N})

The block is Llama's (RMSNorm, rotary positions by halves, grouped heads by SDPA, SwiGLU), the optimizer is the fused AdamW on float32
weights, rows are drawn at random as nanoGPT does. It computes in float32, or with HERD_PEER_AUTOCAST=1 in bfloat16 by torch.autocast.
TRAIN and VALID hold token shards (`*.ds`: u32, little-endian).
"""
import glob, json, math, os, resource, sys, time
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

resolved = json.load(open(sys.argv[1]))
config, steps = resolved["config"], resolved["steps"]
folder, train, valid = sys.argv[2:5]
shape = json.load(open(f"{folder}/config.json"))
weights = {k: v.float().requires_grad_() for k, v in load_file(f"{folder}/model.safetensors").items()}
heads, kv_heads, hidden = shape["num_attention_heads"], shape["num_key_value_heads"], shape["hidden_size"]
width = shape.get("head_dim") or hidden // heads
eps = shape["rms_norm_eps"]
theta = shape.get("rope_theta") or shape["rope_parameters"]["rope_theta"]
length = config["sequence_length"]
if config.get("threads"):
    torch.set_num_threads(config["threads"])

angles = torch.outer(torch.arange(length).float(), theta ** (-torch.arange(0, width, 2).float() / width))
cosine, sine = torch.cat([angles.cos()] * 2, -1), torch.cat([angles.sin()] * 2, -1)


def rotate(x):
    a, b = x.chunk(2, -1)
    return x * cosine + torch.cat([-b, a], -1) * sine


def forward(ids, targets):
    x = F.embedding(ids, weights["model.embed_tokens.weight"])
    rows = ids.shape[0]
    for layer in range(shape["num_hidden_layers"]):
        w = lambda name: weights[f"model.layers.{layer}.{name}.weight"]
        h = F.rms_norm(x, (hidden,), w("input_layernorm"), eps)
        q, k, v = (F.linear(h, w(f"self_attn.{n}_proj")).view(rows, length, -1, width).transpose(1, 2) for n in "qkv")
        out = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True, enable_gqa=heads != kv_heads)
        x = x + F.linear(out.transpose(1, 2).reshape(rows, length, -1), w("self_attn.o_proj"))
        h = F.rms_norm(x, (hidden,), w("post_attention_layernorm"), eps)
        x = x + F.linear(F.silu(F.linear(h, w("mlp.gate_proj"))) * F.linear(h, w("mlp.up_proj")), w("mlp.down_proj"))
    head = weights["model.embed_tokens.weight"] if shape.get("tie_word_embeddings") else weights["lm_head.weight"]
    logits = F.linear(F.rms_norm(x, (hidden,), weights["model.norm.weight"], eps), head)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def tokens(path):
    return torch.from_numpy(np.concatenate([np.fromfile(f, "<u4") for f in sorted(glob.glob(f"{path}/*.ds"))]).astype(np.int64))


compiled = torch.compile(forward) if os.environ.get("HERD_PEER_COMPILE") else forward


def loss_of(ids, targets):
    with torch.autocast("cpu", torch.bfloat16, enabled=bool(os.environ.get("HERD_PEER_AUTOCAST"))):
        return compiled(ids, targets)


parameters = list(weights.values())
rate, beta2 = config["learning_rate"], config["beta2"]
optimizer = torch.optim.AdamW(parameters, rate, (config["beta1"], beta2), config["eps"], config["weight_decay"], fused=True)
data, held_out = tokens(train), tokens(valid)
generator = torch.Generator().manual_seed(config["seed"])
batch, micro = config["batch_tokens"] // length, max(1, config["micro_batch_tokens"] // length)
warmup = config["warmup_steps"] or 0
seconds = []
for step in range(steps):
    start = time.perf_counter()
    done = max(0, step + 1 - warmup) / max(1, steps - warmup)
    final = config["final_lr_ratio"]
    scale = (step + 1) / warmup if step < warmup else final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate * scale
    at = torch.randint(len(data) - length - 1, (batch,), generator=generator)
    rows = torch.stack([data[i:i + length + 1] for i in at])
    for part in rows.split(micro):
        (loss_of(part[:, :-1].contiguous(), part[:, 1:].contiguous()) * (len(part) / batch)).backward()
    torch.nn.utils.clip_grad_norm_(parameters, config["max_grad_norm"])
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - start)
total, count = 0.0, 0
with torch.no_grad():
    windows = min(len(held_out) - 1, config["eval_tokens"] or len(held_out)) // length
    for first in range(0, windows - windows % micro, micro):
        rows = torch.stack([held_out[i * length:i * length + length + 1] for i in range(first, first + micro)])
        total += loss_of(rows[:, :-1].contiguous(), rows[:, 1:].contiguous()).item() * micro
        count += micro
seconds = sorted(seconds[len(seconds) // 10:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"tokens_per_second": batch * length / seconds[len(seconds) // 2], "loss": total / count,
                  "peak_memory": peak, "steps": steps}))
