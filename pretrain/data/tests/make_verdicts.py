"""Makes tests/fixtures/datatrove-verdicts.json.gz: the verdicts of datatrove's filters on seeded texts.

    cargo run -p pretrain-data --example made_texts -- 7 10000 /tmp/texts.jsonl
    python pretrain/data/tests/make_verdicts.py /tmp/texts.jsonl pretrain/data/tests/fixtures/datatrove-verdicts.json.gz

Needs datatrove 0.10.1 and spacy 3.8.18 (pip install datatrove spacy). Each filter gets the whole text, independent of the other filters.
A verdict is the name of the rule that drops the text, or an empty string; C4's text is kept as a digest.
"""

import gzip
import hashlib
import json
import sys

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4ParagraphFilter,
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

FILTERS = {
    "gopher-repetition": GopherRepetitionFilter(),
    "gopher-quality": GopherQualityFilter(),
    "c4": C4QualityFilter(),
    "c4-without-terminal-punctuation": C4QualityFilter(filter_no_terminal_punct=False),
    "c4-paragraphs": C4ParagraphFilter(),
    "fineweb": FineWebQualityFilter(),
}


def main():
    texts = [json.loads(line)["text"] for line in open(sys.argv[1], encoding="utf-8")]
    out = {"texts": hashlib.sha256("".join(texts).encode()).hexdigest()}
    for name, rule in FILTERS.items():
        verdicts = []
        for text in texts:
            document = Document(text=text, id="")
            try:
                result = rule.filter(document)
            except ZeroDivisionError:
                result = (False, "ZeroDivisionError")
            verdict = "" if result is True else result[1]
            if name.startswith("c4-w") or name == "c4":
                verdict = verdict or "text " + hashlib.sha256(document.text.encode()).hexdigest()[:8]
            verdicts.append(verdict)
        out[name] = verdicts
    with gzip.GzipFile(sys.argv[2], "wb", mtime=0) as file:
        file.write(json.dumps(out, separators=(",", ":")).encode())


main()
