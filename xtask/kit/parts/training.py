"""Parts 3 to 7: training from token shards, beside a plain PyTorch loop of the same shape, rows and batch in the same run."""

import shutil
import statistics

import marks
import shapes
from common import Memory, Stop



def steps(kit):
    """Steps that are run, and how many of them compile, warm up and are not counted."""
    return (3, 1) if kit.gpu is None else (8, 3)


def herd(kit, name, length, batch, document, *words):
    """Tokens a second (the median of the steps) and peak GB."""
    shape, (count, warm) = shapes.of(kit, name), steps(kit)
    model, data = shapes.folder(kit, shape), shapes.shards(kit, batch * (count + 1), document)
    output = kit.work / f"train-{shape}-{length}-{document}-{'-'.join(str(w).strip('-') for w in words) or 'plain'}"
    shutil.rmtree(output, ignore_errors=True)
    long = ["--recompute"] if length >= 32768 else []
    with Memory(kit.gpu) as memory:
        lines = kit.train("pretrain", output, "--model", model, "--data", data, "--tokens", batch * count, "--sequence-length", length,
                          "--batch-tokens", batch, "--micro-batch-tokens", max(length, 16384), "--warmup-steps", "1",
                          "--checkpoint-minutes", "1000", *long, *words, dtype=kit.dtype)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    shutil.rmtree(output / "model", ignore_errors=True)
    if len(lines) < count:
        raise Stop(f"{len(lines)} of {count} steps")
    return statistics.median(line["tokens_per_second"] for line in lines[warm:]), memory.most


def beside_torch(kit, name, length):
    batch = max(length, 32768 if kit.gpu is not None else 256)
    row = {"measure": "tokens/s", "peer is": "torch"}
    speed, memory = herd(kit, name, length, batch, length)
    row["herd"] = f"{speed:.0f}"
    shape = shapes.of(kit, name)
    peak = marks.peak_of(kit.name)
    share = 100 * speed * shapes.flops(shape, length) / (peak * 1e12) if peak else None
    if share is not None:
        row["MFU"] = f"{share:.0f}%" + (f" (goal {marks.MFU_GOAL}%)" if name == "1B" and length == 8192 else "")
    if memory is not None:
        row["peak GB"] = f"{memory:.1f}"
    rows = [row]
    try:
        peer = kit.peer("train", "--shape", shape, "--length", length, "--batch-tokens", batch, "--steps", steps(kit)[0], "--warm", steps(kit)[1],
                        "--device", kit.device, log=f"peer-{shape}-{length}")
        row["peer"] = f"{peer['tokens_per_second']:.0f}"
        ratio = speed / peer["tokens_per_second"]
        row["ratio"] = f"{ratio:.2f}"
    except Stop as reason:
        row["peer"], ratio = f"did not end ({reason})", None
    counts = marks.speed_counts(kit.name) and length == 8192
    row["mark"] = f"{marks.TRAINING}" if length == 8192 else ""
    row["verdict"] = "no mark" if not counts else "fail: no peer" if ratio is None else "pass" if ratio >= marks.TRAINING else "fail: slower"
    if name == "1B" and length == 131072:
        fits = memory is not None and memory <= marks.MEMORY_GB
        rows.append({"measure": "peak memory of a row of 128K", "peak GB": row.get("peak GB", ""), "mark": f"{marks.MEMORY_GB}",
                     "verdict": "no mark" if memory is None else "pass" if fits else "fail: more"})
    return rows


def lengths(kit, name, wanted):
    """On a processor rows are 256 times shorter, so that a case takes seconds."""
    out = []
    for length in wanted:
        small = length if kit.gpu is not None else max(32, length // 256)
        label = f"{name}, rows of {length // 1024}K" + ("" if kit.gpu is not None else f" (here {shapes.of(kit, name)}, {small})")
        out.append((label, lambda n=name, l=small: beside_torch(kit, n, l)))
    return out


def short_135m(kit):
    return lengths(kit, "135M", [2048, 8192])


def long_135m(kit):
    return lengths(kit, "135M", [32768, 131072])


def short_1b(kit):
    return lengths(kit, "1B", [2048, 8192])


def long_1b(kit):
    return lengths(kit, "1B", [32768, 131072])


def masked(kit, document):
    """Rows of 8K tokens of documents that do not see each other, over the same rows with --cross-documents."""
    length = 8192 if kit.gpu is not None else 256
    document = document if kit.gpu is not None else max(16, document // 16)
    batch = 4 * length if kit.gpu is not None else length
    apart, memory = herd(kit, "135M", length, batch, document)
    together, _ = herd(kit, "135M", length, batch, document, "--cross-documents")
    ratio = apart / together
    row = {"measure": f"tokens/s, documents of {document} in rows of {length}", "herd": f"{apart:.0f}", "peer": f"{together:.0f}",
           "peer is": "own", "ratio": f"{ratio:.2f}", "mark": f"{marks.DOCUMENTS}"}
    if memory is not None:
        row["peak GB"] = f"{memory:.1f}"
    row["verdict"] = "no mark" if not marks.speed_counts(kit.name) else "pass" if ratio >= marks.DOCUMENTS else "fail: slower"
    return [row]


def documents(kit):
    return [(f"documents of {document}", lambda d=document: masked(kit, d)) for document in (128, 512, 2048)]
