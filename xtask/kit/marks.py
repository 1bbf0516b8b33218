"""What is measured, beside whom, and what has to be reached: fixed before any GPU had seen it.

The marks of speed are for an H100 or H200. On another GPU and on a processor the figures are printed without a verdict.
"""

PARTS = {
    1: "own kernels: compiled by NVRTC, held against float64, rates",
    2: "tiny models: gradients, three optimizer steps and greedy text against the processor",
    3: "training of SmolLM2-135M's shape, rows of 2K and 8K tokens",
    4: "training of SmolLM2-135M's shape, rows of 32K and 128K tokens",
    5: "training of Llama 3.2 1B's shape, rows of 2K and 8K tokens",
    6: "training of Llama 3.2 1B's shape, rows of 32K and 128K tokens",
    7: "documents that do not see each other in a row, beside rows of one text",
    8: "sampling of 16, 64 and 256 sequences",
    9: "pretrain, sft and dpo: 20 steps with a resume between, against the processor",
}

COLUMNS = ["part", "case", "measure", "herd", "peer", "peer is", "ratio", "MFU", "peak GB", "mark", "verdict"]

# Peers: "processor" is herd with --device cpu in float32; "torch" a plain PyTorch loop (peer.py): autocast to bfloat16, float32
# weights, scaled_dot_product_attention, fused AdamW, torch.compile; "transformers" its generate, in bfloat16.
PEERS = ["processor", "float64", "torch", "transformers", "own"]

# Largest relative difference of a gradient of a matrix (norm of the difference over the norm), of a loss, and of an
# optimizer step's change of the weights, in bfloat16 and in float32.
GRADIENT = {"bf16": 0.03, "f32": 1e-3}
LOSS = {"bf16": 0.01, "f32": 1e-4}
# Training at 8K: tokens/s over the plain PyTorch loop.
TRAINING = 1.2
# Goal of 1B at 8K, in percent of the data sheet; reported, no mark.
MFU_GOAL = 50
# Rows of documents over rows of one text, tokens/s.
DOCUMENTS = 1.0
# Peak memory of 1B with rows of 128K tokens.
MEMORY_GB = 80
# Sampling of 64 sequences: tokens/s over transformers.
SAMPLING = 3.0

# Dense bfloat16 of the data sheets, 10^12 operations a second. The longest name that a device's name contains counts.
PEAKS = {
    "H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "H200": 989, "H20": 148, "GH200": 989, "B200": 2250, "GB200": 2250, "A100": 312,
    "A800": 312, "L40S": 362, "RTX 4090": 165, "RTX 3090": 71,
}


def peak_of(name):
    """The data sheet's rate of a device, or None."""
    known = [key for key in PEAKS if key.replace(" ", "") in name.replace(" ", "")]
    return PEAKS[max(known, key=len)] if known else None


def speed_counts(name):
    """Whether the marks of speed are for this device."""
    return any(key in name for key in ("H100", "H200")) and "GH200" not in name


def table(rows):
    """The joined table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        lines.append("| " + " | ".join(str(row.get(column, "")) for column in COLUMNS) + " |")
    counts = {}
    for row in rows:
        word = row["verdict"].split(":")[0]
        counts[word] = counts.get(word, 0) + 1
    heads = sorted({f"{row['device']} ({row['device name']})" for row in rows})
    summary = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    return "\n".join([f"Devices: {', '.join(heads)}. {summary or 'nothing was run'}.", ""] + lines) + "\n"
