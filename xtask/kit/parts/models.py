"""Part 2: tiny models against the processor in float32: gradients of a step, three optimizer steps, greedy text."""

import json
import shutil

import marks
from common import HERE, relative, tensors
from shapes import conversations

MODELS = ["tiny-64", "tiny-128"]
# One step's sizes; float32 masters either way.
STEP = ["--max-length", "256", "--batch-size", "16", "--learning-rate", "1e-3", "--warmup-ratio", "0", "--max-grad-norm", "0"]


def sft(kit, model, steps, device, dtype):
    output = kit.work / f"{model}-{steps}-{device.replace(':', '-')}-{dtype}"
    shutil.rmtree(output, ignore_errors=True)
    chats, _ = conversations(kit)
    words = ["--model", HERE / "models" / model, "--data", chats, *STEP, "--max-steps", steps, "--checkpoint-steps", steps]
    return output, kit.train("sft", output, *words, device=device, dtype=dtype)


def gradients(kit, model, dtype):
    """The first moment after a step is (1 - beta1) times the gradient."""
    output, _ = sft(kit, model, 1, kit.device, dtype)
    expected, _ = sft(kit, model, 1, "cpu", "f32")

    def moments(folder):
        (path,) = folder.glob("checkpoints/step-1/**/moments.safetensors")
        return {name: tensor for name, tensor in tensors(path).items() if name.startswith("exp_avg.") and tensor.dim() == 2}

    found, expected = moments(output), moments(expected)
    worst, name = max((relative(found[name], expected[name]), name) for name in expected)
    mark = marks.GRADIENT[dtype]
    return [{
        "measure": f"gradient, worst matrix of {len(expected)} ({name.removeprefix('exp_avg.')})", "herd": f"{worst:.1e}",
        "peer is": "processor", "mark": f"{mark:g}", "verdict": "pass" if worst <= mark else "fail: larger",
    }]


def steps(kit, model, dtype):
    output, found = sft(kit, model, 3, kit.device, dtype)
    other, expected = sft(kit, model, 3, "cpu", "f32")
    loss = max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in zip(found, expected))
    before = tensors(HERE / "models" / model / "model.safetensors")
    after, wanted = tensors(output / "model/model.safetensors"), tensors(other / "model/model.safetensors")
    change = max(relative(after[name] - before[name], wanted[name] - before[name]) for name in wanted if wanted[name].dim() == 2)
    mark = marks.LOSS[dtype]
    short = "" if len(found) == len(expected) == 3 else f"fail: {len(found)} and {len(expected)} steps"
    return [
        {"measure": "loss of three steps", "herd": f"{loss:.1e}", "peer is": "processor", "mark": f"{mark:g}",
         "verdict": short or ("pass" if loss <= mark else "fail: larger")},
        {"measure": "change of the weights in three steps", "herd": f"{change:.1e}", "peer is": "processor", "verdict": "no mark"},
    ]


def text(kit, model):
    """Greedy text of float32, in which ties are rare."""
    prompts = kit.work / "prompts.jsonl"
    with open(prompts, "w") as file:
        for number in range(8):
            file.write(json.dumps({"id": str(number), "prompt": [{"role": "user", "content": f"What is {number} plus 40?"}]}) + "\n")
    answers = []
    for device in (kit.device, "cpu"):
        output = kit.work / f"{model}-answers-{device.replace(':', '-')}-{len(answers)}.jsonl"
        output.unlink(missing_ok=True)
        kit.herd("generate", "--model", HERE / "models" / model, "--prompts", prompts, "--output", output, "--temperature", "0",
                 "--max-new-tokens", "48", "--ignore-eos", "--dtype", "f32", "--device", device, log="generate")
        answers.append([json.loads(line)["response"] for line in output.read_text().splitlines()])
    same = sum(a == b for a, b in zip(*answers))
    return [{"measure": "greedy answers of 48 tokens that are equal", "herd": f"{same} of 8", "peer is": "processor", "mark": "8 of 8",
             "verdict": "pass" if same == 8 == len(answers[1]) else "fail: they differ"}]


def cases(kit):
    out = []
    for model in MODELS:
        for dtype in ("f32", "bf16"):
            out.append((f"{model} gradients {dtype}", lambda m=model, d=dtype: gradients(kit, m, d)))
            out.append((f"{model} steps {dtype}", lambda m=model, d=dtype: steps(kit, m, d)))
        out.append((f"{model} text", lambda m=model: text(kit, m)))
    return out
