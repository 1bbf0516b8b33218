"""Writes the table for `herd safety filter --toxicity` from alt-profanity-check 1.9.1 (MIT), and scores to compare with.

    python3 -m venv /tmp/tox && /tmp/tox/bin/pip install alt-profanity-check==1.9.1
    /tmp/tox/bin/python crates/safety-text/tests/toxicity_table.py toxicity.jsonl
    /tmp/tox/bin/python crates/safety-text/tests/toxicity_table.py --scores FILE   # a score for each line of FILE
"""

import json
import sys
import warnings
from importlib import resources
from pathlib import Path

import joblib

warnings.simplefilter("ignore")
data = Path(str(resources.files("profanity_check"))) / "data"  # the package itself is slow to import
vectorizer = joblib.load(data / "vectorizer.joblib")
model = joblib.load(data / "model.joblib")

if sys.argv[1] == "--scores":
    lines = [line.rstrip("\n") for line in open(sys.argv[2], encoding="utf-8")]
    for score in model.predict_proba(vectorizer.transform(lines))[:, 1]:
        print(f"{score:.6f}")
    sys.exit()

assert vectorizer.norm == "l2" and vectorizer.token_pattern == r"(?u)\b\w\w+\b" and not vectorizer.sublinear_tf
parts = model.calibrated_classifiers_
head = {
    "format": "herd-toxicity", "version": 1, "source": "alt-profanity-check 1.9.1", "licence": "MIT",
    "heads": [
        {"intercept": float(part.estimator.intercept_[0]), "a": float(part.calibrators[0].a_), "c": float(part.calibrators[0].b_)}
        for part in parts
    ],
}
with open(sys.argv[1], "w", encoding="utf-8") as out:
    print(json.dumps(head), file=out)
    for word, column in sorted(vectorizer.vocabulary_.items()):
        weights = [round(float(part.estimator.coef_[0, column]), 6) for part in parts]
        idf = round(float(vectorizer.idf_[column]), 6)
        print(json.dumps({"word": word, "idf": idf, "weights": weights}, ensure_ascii=False), file=out)
