"""Part 8: sampling, beside transformers' generate with the same model, prompts and lengths."""

import json
import random
import time

import marks
import shapes
from common import Memory, Stop


def seconds(kit, model, prompts, sequences, tokens, **environment):
    output = kit.work / f"samples-{sequences}-{tokens}.jsonl"
    output.unlink(missing_ok=True)
    start = time.monotonic()
    with Memory(kit.gpu) as memory:
        kit.herd("generate", "--model", model, "--prompts", prompts, "--output", output, "--max-num-seqs", sequences, "--max-new-tokens",
                 tokens, "--ignore-eos", "--temperature", "1", "--dtype", kit.dtype, "--device", kit.device, log=f"samples-{sequences}", **environment)
    taken = time.monotonic() - start
    if len(output.read_text().splitlines()) != sequences:
        raise Stop(f"not all of {sequences} answers came")
    return taken, memory.most


def decoded(kit, name, sequences, **environment):
    """Decoded tokens a second, the model, its prompts, the numbers of tokens of a prompt and of an answer, and the peak memory."""
    shape = shapes.of(kit, name)
    model = shapes.folder(kit, shape)
    prompt, tokens = (128, 256) if kit.gpu is not None else (32, 512)
    prompts = kit.work / f"prompts-{sequences}-{prompt}.jsonl"
    draw = random.Random(sequences)
    with open(prompts, "w") as file:
        for number in range(sequences):
            text = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz ", k=prompt))
            file.write(json.dumps({"id": str(number), "prompt": [{"role": "user", "content": text}]}) + "\n")
    # The difference of a long and a short run is decoding alone: loading and prompts are in both.
    long, memory = seconds(kit, model, prompts, sequences, tokens, **environment)
    short, _ = seconds(kit, model, prompts, sequences, 1, **environment)
    if long - short < 0.05 * long:
        raise Stop(f"{tokens} tokens took {long:.2f} s and one {short:.2f} s: too close to tell the time of decoding")
    return sequences * (tokens - 1) / (long - short), model, (prompt, tokens), memory


def graphs(kit, name, sequences):
    """CUDA graphs of decoding steps, beside the same kernels launched one by one."""
    with_graphs, *_, memory = decoded(kit, name, sequences)
    without, *_ = decoded(kit, name, sequences, HERD_GPU_GRAPHS="off")
    row = {"measure": f"decoded tokens/s at {sequences} sequences, CUDA graphs", "herd": f"{with_graphs:.0f}", "peer": f"{without:.0f}",
           "peer is": "own", "ratio": f"{with_graphs / without:.2f}", "verdict": "no mark"}
    if memory is not None:
        row["peak GB"] = f"{memory:.1f}"
    return [row]


def sample(kit, name, sequences):
    speed, model, (prompt, tokens), memory = decoded(kit, name, sequences)
    row = {"measure": f"decoded tokens/s at {sequences} sequences", "herd": f"{speed:.0f}", "peer is": "transformers",
           "mark": f"{marks.SAMPLING}" if sequences == 64 else ""}
    if memory is not None:
        row["peak GB"] = f"{memory:.1f}"
    ratio = None
    try:
        peer = kit.peer("generate", "--model", model, "--sequences", sequences, "--prompt", prompt, "--tokens", tokens, "--device",
                        kit.device, log=f"peer-samples-{sequences}")
        if "missing" in peer:
            row["peer"] = peer["missing"]
        else:
            ratio = speed / peer["tokens_per_second"]
            row.update({"peer": f"{peer['tokens_per_second']:.0f}", "ratio": f"{ratio:.2f}"})
    except Stop as reason:
        row["peer"] = f"did not end ({reason})"
    counts = marks.speed_counts(kit.name) and sequences == 64
    row["verdict"] = ("no mark" if not counts else "not run: no transformers" if ratio is None
                      else "pass" if ratio >= marks.SAMPLING else "fail: slower")
    return [row]


def cases(kit):
    all = [(f"135M, {sequences} sequences", lambda n=sequences: sample(kit, "135M", n)) for sequences in (16, 64, 256)]
    return all + [("135M, 16 sequences, graphs", lambda: graphs(kit, "135M", 16))]
