"""Models and data of given shapes, made here: random weights, random text, a token a byte."""

import json
import random
import shutil
from pathlib import Path

from common import HERE, Stop, write_tensors

CONTEXT = 131072 + 1024
SHAPES = {
    "135M": {"hidden": 576, "layers": 30, "heads": 9, "kv_heads": 3, "inner": 1536, "vocab": 49152},
    "1B": {"hidden": 2048, "layers": 16, "heads": 32, "kv_heads": 8, "inner": 8192, "vocab": 128256},
    # In their place on a processor.
    "135M-cpu": {"hidden": 64, "layers": 2, "heads": 4, "kv_heads": 2, "inner": 128, "vocab": 512},
    "1B-cpu": {"hidden": 96, "layers": 2, "heads": 6, "kv_heads": 2, "inner": 192, "vocab": 512},
}


def of(kit, name):
    return name if kit.gpu is not None else f"{name}-cpu"


def products(shape):
    """Weights in matrix products for each token: all but the embedding, the head included."""
    s = SHAPES[shape]
    width = s["hidden"] // s["heads"]
    layer = s["hidden"] * width * (2 * s["heads"] + 2 * s["kv_heads"]) + 3 * s["hidden"] * s["inner"]
    return s["layers"] * layer + s["vocab"] * s["hidden"]


def flops(shape, length):
    """Operations of training for each token in a row of one text: 6 a weight, and attention's two products over half of the row
    (forward 4, backward 8 operations a pair, head and number)."""
    s = SHAPES[shape]
    return 6 * products(shape) + 12 * s["layers"] * s["hidden"] * length / 2


def folder(kit, name):
    """A model folder of a shape, as Hugging Face has it, in bfloat16."""
    import torch

    path = kit.work / f"model-{name}"
    if (path / "done").exists():
        return path
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    s = SHAPES[name]
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(HERE / "models/tiny-64" / file, path / file)
    width = s["hidden"] // s["heads"]
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "torch_dtype": "bfloat16",
        "hidden_size": s["hidden"], "intermediate_size": s["inner"], "num_hidden_layers": s["layers"],
        "num_attention_heads": s["heads"], "num_key_value_heads": s["kv_heads"], "head_dim": width, "vocab_size": s["vocab"],
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": True,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": None, "eos_token_id": 257, "initializer_range": 0.02,
    }
    (path / "config.json").write_text(json.dumps(config, indent=1))
    generator = torch.Generator().manual_seed(1)

    def matrix(rows, columns):
        return (torch.randn(rows, columns, generator=generator) * 0.02).bfloat16()

    named = [("model.embed_tokens.weight", matrix(s["vocab"], s["hidden"]))]
    for layer in range(s["layers"]):
        at = f"model.layers.{layer}."
        q, kv = s["heads"] * width, s["kv_heads"] * width
        named += [
            (at + "self_attn.q_proj.weight", matrix(q, s["hidden"])), (at + "self_attn.k_proj.weight", matrix(kv, s["hidden"])),
            (at + "self_attn.v_proj.weight", matrix(kv, s["hidden"])), (at + "self_attn.o_proj.weight", matrix(s["hidden"], q)),
            (at + "mlp.gate_proj.weight", matrix(s["inner"], s["hidden"])), (at + "mlp.up_proj.weight", matrix(s["inner"], s["hidden"])),
            (at + "mlp.down_proj.weight", matrix(s["hidden"], s["inner"])),
            (at + "input_layernorm.weight", torch.ones(s["hidden"]).bfloat16()),
            (at + "post_attention_layernorm.weight", torch.ones(s["hidden"]).bfloat16()),
        ]
    named.append(("model.norm.weight", torch.ones(s["hidden"]).bfloat16()))
    write_tensors(path / "model.safetensors", named)
    (path / "done").write_text("")
    return path


def shards(kit, tokens, document):
    """Token shards of random text: documents of `document` tokens."""
    path = kit.work / f"shards-{tokens}-{document}"
    if (path / "run.json").exists():
        return path
    shutil.rmtree(path, ignore_errors=True)
    source = kit.work / f"text-{tokens}-{document}.jsonl"
    draw = random.Random(document)
    letters = "abcdefghijklmnopqrstuvwxyz     "
    with open(source, "w") as file:
        # One token ends each document.
        for number in range(-(-tokens // document)):
            text = "".join(draw.choices(letters, k=document - 1))
            file.write(json.dumps({"id": str(number), "text": text}) + "\n")
    kit.herd("data", "tokenise", "--input", source, "--tokenizer", HERE / "models/tiny-64", "--output", path, log="tokenise")
    source.unlink()
    if not Path(path).exists():
        raise Stop("herd data tokenise wrote nothing")
    return path


def conversations(kit):
    """Questions with answers, and preferences between two answers: sums of two numbers."""
    chats, pairs = kit.work / "chats.jsonl", kit.work / "pairs.jsonl"
    draw = random.Random(5)
    with open(chats, "w") as one, open(pairs, "w") as two:
        for number in range(256):
            a, b = draw.randrange(100), draw.randrange(100)
            prompt = [{"role": "user", "content": f"What is {a} plus {b}?"}]
            answer = [{"role": "assistant", "content": f"{a} plus {b} is {a + b}."}]
            wrong = [{"role": "assistant", "content": f"It is {a + b + draw.randrange(1, 9)}, I think."}]
            one.write(json.dumps({"id": str(number), "messages": prompt + answer}) + "\n")
            two.write(json.dumps({"id": str(number), "prompt": prompt, "chosen": answer, "rejected": wrong}) + "\n")
    return chats, pairs
