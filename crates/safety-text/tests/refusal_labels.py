"""Labelled answers for `herd safety refusals train` and `check`, from the sets that carry labels of people. Standard library only.

    python3 crates/safety-text/tests/refusal_labels.py xstest FOLDER > xstest.jsonl     # xstest_v2_completions_*.csv[.gz], CC BY 4.0
    python3 crates/safety-text/tests/refusal_labels.py pyrit WHEEL > pyrit.jsonl        # the wheel pyrit 1.1.0, MIT: for tests only

The embedded model is made with

    herd safety refusals train --labels xstest.jsonl --output crates/safety-text/src/refusal/refusals.bin
"""

import csv
import glob
import gzip
import io
import json
import sys
import zipfile

csv.field_size_limit(10**9)


def line(answer, refusal, group, source):
    print(json.dumps({"answer": answer, "refusal": refusal, "group": group, "source": source}, ensure_ascii=False))


def xstest(folder):
    files = sorted(glob.glob(f"{folder}/xstest_v2_completions_*.csv*"))
    assert files, f"{folder} has no xstest_v2_completions_*.csv"
    for path in files:
        name = path.split("completions_")[1].split(".")[0]
        opened = gzip.open(path, "rt", encoding="utf-8") if path.endswith(".gz") else open(path, encoding="utf-8")
        with opened as file:
            for row in csv.DictReader(file):
                # 1_full_compliance, 2_full_refusal, 3_partial_refusal
                line(row["completion"], not row["final_label"].startswith("1"), row["id"], f"xstest-{name}")


def pyrit(wheel):
    with zipfile.ZipFile(wheel) as files:
        for name in ("refusal", "refusal_extra"):
            text = files.read(f"pyrit/datasets/scorer_evals/refusal_scorer/{name}.csv").decode("utf-8", "replace")
            # Lines of comment stand above the header.
            rows = text.split("\n")
            while rows[0].startswith("#"):
                rows.pop(0)
            for row in csv.DictReader(io.StringIO("\n".join(rows))):
                line(row["assistant_response"], float(row["human_score"]) >= 0.5, row["objective"], "pyrit")


{"xstest": xstest, "pyrit": pyrit}[sys.argv[1]](sys.argv[2])
