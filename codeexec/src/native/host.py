"""Runs the harness in a native process, where a pair of pipes replaces `host.call`. Rust defines `SOURCES` and `PART` before this text."""

import os
import sys
import types


def _door(message):
    def read(size):
        parts = []
        while size:
            part = os.read(3, size)
            if not part:
                raise SystemExit(0)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    out = len(message).to_bytes(4, "little") + message
    while out:
        out = out[os.write(4, out):]
    if message[:1] not in (b"P", b"N", b"T", b"C"):
        return b""
    answer = read(int.from_bytes(read(4), "little"))
    if message[:1] == b"N" and not answer:
        raise SystemExit(0)
    return answer


def _main():
    harness = types.ModuleType("codeexec_harness")
    space = harness.__dict__
    space["HERE"] = "codeexec_harness.py"
    for source in SOURCES:
        exec(compile(source, "codeexec_harness.py", "exec"), space)
    sys.modules["codeexec_harness"] = harness
    sys.stdout.reconfigure(line_buffering=True)
    if PART == "judge":
        space["Judge"](_door).main()
        return
    program = space["Program"](_door)
    if program.start():
        while True:
            program.step()


_main()
