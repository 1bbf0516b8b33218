"""Running programs, keeping results, reading what herd writes."""

import ctypes
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message="Failed to initialize NumPy")

HERE = Path(__file__).resolve().parent


class Stop(Exception):
    """A case cannot go on: one sentence."""


class Kit:
    def __init__(self, device, results, budget):
        if not re.fullmatch(r"cpu|cuda:\d+", device):
            sys.exit(f"--device {device}: say cpu or cuda:N")
        try:
            import torch
        except ImportError:
            sys.exit("this Python has no PyTorch: start ./run with one that has PyTorch 2.11")
        version = torch.__version__.split("+")[0]
        if not version.startswith("2.11."):
            sys.exit(f"this Python has PyTorch {version}, and herd is built for 2.11: start ./run with one that has PyTorch 2.11")
        self.device, self.budget = device, budget
        self.gpu = None if device == "cpu" else int(device[5:])
        if self.gpu is not None and self.gpu >= torch.cuda.device_count():
            sys.exit(f"--device {device}: PyTorch sees {torch.cuda.device_count()} GPUs here")
        # A processor without AVX512-BF16 computes bfloat16 slowly, and tries the kit all the same.
        self.dtype = "f32" if self.gpu is None else "bf16"
        self.name = "processor" if self.gpu is None else torch.cuda.get_device_name(self.gpu)
        self.torch_lib = Path(torch.__file__).resolve().parent / "lib"
        self.results = results
        self.work = results / "work" / device.replace(":", "-")
        self.kept = results / device.replace(":", "-")
        self.work.mkdir(parents=True, exist_ok=True)
        self.kept.mkdir(parents=True, exist_ok=True)
        self.deadline = time.monotonic() + budget

    # Results

    def path(self, part, case):
        return self.kept / f"{part}-{re.sub('[^A-Za-z0-9.]+', '-', case)}.json"

    def has(self, part, case):
        return self.path(part, case).exists()

    def keep(self, part, case, rows, seconds):
        for row in rows:
            row.update({"part": part, "case": case, "device": self.device, "device name": self.name})
        text = json.dumps({"rows": rows, "seconds": round(seconds, 1), "time": time.strftime("%Y-%m-%d %H:%M:%S")}, indent=1)
        new = self.path(part, case).with_suffix(".new")
        new.write_text(text)
        new.replace(self.path(part, case))

    def rows(self):
        """Of all devices, by part."""
        files = sorted(self.results.glob("c*/*.json"), key=lambda path: (path.parent.name, int(path.name.split("-")[0]), path.stat().st_mtime))
        return [row for path in files for row in json.loads(path.read_text())["rows"]]

    # Programs

    def environment(self):
        env = dict(os.environ)
        env["LD_LIBRARY_PATH"] = f"{self.torch_lib}:{env.get('LD_LIBRARY_PATH', '')}".rstrip(":")
        env["LIBTORCH_CUDA"] = str(self.torch_lib)
        env["HERD_CACHE"] = str(self.results / "cache")
        env.setdefault("OMP_WAIT_POLICY", "passive")
        nvrtc = self.torch_lib.parent.parent / "nvidia/cu13/lib/libnvrtc.so.13"
        if nvrtc.exists():
            env["HERD_NVRTC"] = str(nvrtc)
        return env

    def start(self, command, log, **environment):
        command = [str(word) for word in command]
        out = open(log, "a")
        out.write(f"$ {' '.join(command)}\n")
        out.flush()
        return subprocess.Popen(command, env=self.environment() | environment, stdout=subprocess.PIPE, stderr=out, text=True)

    def run(self, command, log_name, fine=(0,), **environment):
        """Runs a program to its end; its standard output. Its standard error is kept in work/LOG_NAME.log."""
        log = self.work / f"{log_name}.log"
        child = self.start(command, log, **environment)
        try:
            out, _ = child.communicate(timeout=max(5.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise Stop(f"{Path(str(command[0])).name} did not end in the time of a part ({log})") from None
        with open(log, "a") as file:
            file.write(out)
        if child.returncode not in fine:
            said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            errors = [line for line in said if line.startswith("error") or "Error" in line] or said
            raise Stop(f"exit code {child.returncode}: {errors[-1][:200] if errors else 'nothing was said'} ({log.name})")
        return out

    def herd(self, *words, log="herd", **environment):
        return self.run([HERE / "bin/herd", *words], log, **environment)

    def train(self, stage, output, *words, device=None, dtype=None, log=None):
        """A training stage into a new folder; its metrics, a dictionary a step."""
        dtype = ["--dtype", dtype] if dtype else []
        self.herd(*stage.split(), "--output", output, "--device", device or self.device, *dtype, *words, log=log or Path(output).name)
        return metrics(output)

    def peer(self, *words, log="peer"):
        """peer.py, which prints one line of JSON at its end."""
        out = self.run([sys.executable, HERE / "peer.py", *words], log)
        return json.loads(out.strip().splitlines()[-1])


def metrics(folder):
    path = Path(folder) / "metrics.jsonl"
    # The last line may be half written while a run goes on.
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


class Memory:
    """The most memory of a GPU that is in use while something runs, in GB, without what was in use before."""

    def __init__(self, gpu):
        self.gpu, self.most, self.running = gpu, None, True

    def used(self):
        import torch

        free, total = torch.cuda.mem_get_info(self.gpu)
        return (total - free) / 1e9

    def watch(self):
        while self.running:
            self.most = max(self.most, self.used() - self.before)
            time.sleep(0.05)

    def __enter__(self):
        if self.gpu is not None:
            self.before, self.most = self.used(), 0.0
            self.thread = threading.Thread(target=self.watch)
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.running = False
        if self.gpu is not None:
            self.thread.join()


def tensors(path):
    """The float32 tensors of a safetensors file, by name."""
    import torch

    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    kinds = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    out = {}
    for name, about in header.items():
        if name == "__metadata__" or about["dtype"] not in kinds:
            continue
        begin, end = about["data_offsets"]
        if begin == end:
            continue
        flat = torch.frombuffer(bytearray(data[8 + length + begin : 8 + length + end]), dtype=kinds[about["dtype"]])
        out[name] = flat.reshape(about["shape"]).float()
    return out


def write_tensors(path, named):
    """A safetensors file."""
    import torch

    kinds = {torch.float32: "F32", torch.bfloat16: "BF16"}
    header, offset = {}, 0
    for name, tensor in named:
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for _, tensor in named:
            # Not by numpy, which PyTorch does not need.
            whole = tensor.contiguous()
            file.write(ctypes.string_at(whole.data_ptr(), whole.numel() * whole.element_size()))


def relative(found, expected):
    """Norm of the difference over the norm."""
    norm = expected.norm().item()
    return (found - expected).norm().item() / norm if norm else float(found.norm().item() > 0)


def interrupt(child, seconds):
    child.send_signal(signal.SIGTERM)
    try:
        child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise Stop("herd did not stop on SIGTERM") from None
