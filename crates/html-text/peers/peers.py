"""Runs the Python peers over the pages that `html-text-peers` reads, on one thread.

    pip install trafilatura readability-lxml resiliparse
    python peers.py DATA OUT

writes OUT/NAME.json: {"seconds": seconds for the gz pages, "texts": {id: text}}.
"""

import gzip
import json
import sys
import time
from pathlib import Path

import lxml.html
import readability
import trafilatura
from resiliparse.extract.html2text import extract_plain_text


def readability_text(html):
    tree = lxml.html.fromstring(readability.Document(html).summary(html_partial=True))
    for element in tree.iter("p", "div", "br", "li", "tr", "td", "h1", "h2", "h3", "h4", "pre", "blockquote"):
        element.tail = "\n" + (element.tail or "")
    return tree.text_content()


PEERS = {
    "trafilatura": lambda html: trafilatura.extract(html, include_comments=False),
    "trafilatura-markdown": lambda html: trafilatura.extract(html, include_comments=False, output_format="markdown"),
    "readability-lxml": readability_text,
    "resiliparse": lambda html: extract_plain_text(html, main_content=True),
}


def main():
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    truth = json.loads((data / "ground-truth.json").read_text(encoding="utf8"))
    pages = {i: gzip.open(data / "html" / f"{i}.html.gz", "rt", encoding="utf8").read() for i in truth}
    others = {}
    for index, line in enumerate(gzip.open(data / "webmainbench_sample.jsonl.gz", "rt", encoding="utf8")):
        others[f"webmainbench-{index}"] = json.loads(line)["html"]
    for name, extract in PEERS.items():
        start = time.perf_counter()
        texts = {i: guarded(extract, html) for i, html in pages.items()}
        seconds = time.perf_counter() - start
        texts |= {i: guarded(extract, html) for i, html in others.items()}
        print(f"{name}: {len(pages) / seconds:.1f} pages/s", flush=True)
        (out / f"{name}.json").write_text(json.dumps({"seconds": seconds, "texts": texts}), encoding="utf8")


def guarded(extract, html):
    try:
        return extract(html) or ""
    except Exception as error:  # a peer's failure counts as an empty text
        print(f"  failed: {error!r}", file=sys.stderr)
        return ""


main()
