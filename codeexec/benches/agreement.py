"""Do codeexec's verdicts on canonical solutions agree with this machine's own interpreters?

    codeexec bench-suite mxeval --data FILE.jsonl.gz --output verdicts.jsonl
    python3 benches/agreement.py FILE.jsonl.gz verdicts.jsonl

A solution passes natively when the program with its tests, run as one file by node, php or ruby, exits with code 0.
node needs lodash (NODE_PATH).
"""

import concurrent.futures
import gzip
import json
import subprocess
import sys
import tempfile

RUNNERS = {"javascript": (["node"], ".js"), "php": (["php"], ".php"), "ruby": (["ruby"], ".rb")}


def natively(record):
    command, ending = RUNNERS[record["language"]]
    with tempfile.NamedTemporaryFile("w", suffix=ending) as file:
        file.write(record["prompt"] + record["canonical_solution"] + "\n" + record["test"])
        file.flush()
        try:
            return subprocess.run(command + [file.name], capture_output=True, timeout=20).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def main():
    with gzip.open(sys.argv[1]) as file:
        records = [json.loads(line) for line in file]
    records = [record for record in records if record["canonical_solution"]]
    with open(sys.argv[2]) as file:
        verdicts = {verdict["id"]: verdict for verdict in map(json.loads, file)}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        natives = list(pool.map(natively, records))
    both = sum(native and verdicts[r["task_id"]]["passed"] for r, native in zip(records, natives))
    neither = sum(not native and not verdicts[r["task_id"]]["passed"] for r, native in zip(records, natives))
    print(f"{len(records)} solutions: {both} pass in both, {neither} in neither")
    for record, native in zip(records, natives):
        verdict = verdicts[record["task_id"]]
        if native != verdict["passed"]:
            print(f"  {record['task_id']}: native {native}, here {verdict['status']} {verdict.get('detail')}")


main()
