"""Part 1: own kernels."""

import re

from common import HERE


def compile_all(kit):
    words = ["compile"] if kit.gpu is None else ["compile", "--architectures", number(kit)]
    out = kit.run([HERE / "bin/gpu-kernels", *words], "kernels")
    rows = []
    for line in out.splitlines():
        match = re.match(r"(sm_\d+): (\w+), (\d+) bytes", line)
        if match:
            rows.append({"measure": f"compiled for {match[1]} by NVRTC", "herd": f"{match[3]} bytes of {match[2]}", "mark": "compiles", "verdict": "pass"})
    return rows or [{"measure": "compiled by NVRTC", "mark": "compiles", "verdict": "fail: nothing was compiled"}]


def number(kit):
    import torch

    major, minor = torch.cuda.get_device_capability(kit.gpu)
    return f"{major}{minor}"


def check(kit):
    """Values and gradients, from the emulation or the GPU, against float64; rates on a GPU."""
    words = ["check", "--device", kit.device, "--cases", "12" if kit.gpu is None else "200"]
    if kit.gpu is not None:
        words += ["--rows", "16384"]
    out = kit.run([HERE / "bin/gpu-kernels", *words], "kernels", fine=(0, 1))
    rows = []
    for line in out.splitlines():
        match = re.match(r"(.+?) +(f32|bf16) +(\d+) +(\S+) +(\S+) (ok|\d+ FAIL)$", line)
        if match:
            verdict = "pass" if match[6] == "ok" else f"fail: {match[6].split()[0]} of {match[3]} cases"
            rows.append({
                "measure": f"{match[1]}, {match[2]}: worst and overall difference", "herd": f"{match[4]}, {match[5]}",
                "peer is": "float64", "mark": "2e-2, 4e-3" if match[2] == "bf16" else "2e-5, 2e-6", "verdict": verdict,
            })
        match = re.match(r"(\w+) +(f32|bf16) +(\S+) GB/s$", line)
        if match:
            rows.append({"measure": f"{match[1]}, {match[2]}", "herd": f"{match[3]} GB/s", "verdict": "no mark"})
    return rows or [{"measure": "values and gradients", "mark": "holds", "verdict": "fail: nothing was checked"}]


def cases(kit):
    return [("compile", lambda: compile_all(kit)), ("values and gradients", lambda: check(kit))]
