"""Part 9: the stages for 20 steps, stopped in the middle by SIGTERM and run again, against the processor without a stop."""

import shutil
import subprocess
import time

import marks
from common import HERE, Stop, interrupt, metrics
from shapes import conversations, shards

STEPS = 20


def words(kit, stage):
    chats, pairs = conversations(kit)
    model = ["--model", HERE / "models/tiny-128"]
    if stage == "pretrain":
        data = shards(kit, 60_000, 150)
        return [*model, "--data", data, "--tokens", STEPS * 2048, "--sequence-length", "256", "--batch-tokens", "2048", "--warmup-steps", "2",
                "--learning-rate", "1e-3", "--checkpoint-steps", "5"]
    own = ["--data", chats if stage == "sft" else pairs, "--max-length", "256", "--batch-size", "16", "--epochs", "10", "--max-steps", STEPS,
           "--learning-rate", "1e-3" if stage == "sft" else "1e-4", "--checkpoint-steps", "5"]
    return [*model, *own]


def stopped(kit, stage, output, all_words):
    """Runs until 7 steps are done, stops it, and runs it to its end; whether it was stopped before its end."""
    child = kit.start([HERE / "bin/herd", stage, "--output", output, "--device", kit.device, "--dtype", kit.dtype, *all_words],
                      kit.work / f"{stage}-stopped.log")
    while child.poll() is None and len(metrics(output)) < 7:
        if time.monotonic() > kit.deadline:
            child.kill()
            child.communicate()
            raise Stop("7 steps did not end in the time of a part")
        time.sleep(0.01)
    if child.poll() is None:
        interrupt(child, 60)
    else:
        child.communicate()
    done = len(metrics(output))
    kit.train(stage, output, *all_words, dtype=kit.dtype, log=f"{stage}-stopped")
    return 0 < done < STEPS


def stage(kit, name):
    all_words = words(kit, name)
    folders = [kit.work / f"stage-{name}-{which}" for which in ("stopped", "processor")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    was_stopped = stopped(kit, name, folders[0], all_words)
    expected = kit.train(name, folders[1], *all_words, device="cpu", dtype="f32")
    found = metrics(folders[0])
    numbers = [[line["step"] for line in lines] for lines in (found, expected)]
    if numbers[0] != numbers[1] or len(found) != STEPS:
        return [{"measure": "loss of 20 steps", "peer is": "processor", "verdict": f"fail: steps {numbers[0]} and {numbers[1]}"}]
    loss = max(abs(a["loss"] - b["loss"]) / max(abs(b["loss"]), 0.1) for a, b in zip(found, expected))
    # Differences of bfloat16 grow along the steps.
    mark = 3 * marks.LOSS["bf16"]
    how = "stopped and resumed" if was_stopped else "it ended before it could be stopped"
    return [{"measure": f"loss of 20 steps, {how}", "herd": f"{loss:.1e} ({found[0]['loss']:.3f} to {found[-1]['loss']:.3f})",
             "peer is": "processor", "mark": f"{mark:g}", "verdict": "pass" if loss <= mark and was_stopped else "fail: " + (how if not was_stopped else "larger")}]


def cases(kit):
    return [(name, lambda n=name: stage(kit, n)) for name in ("pretrain", "sft", "dpo")]
