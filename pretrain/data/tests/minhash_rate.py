"""Speed of rensa's MinHash signatures (pip install rensa) on one thread, for examples/minhash_rate.rs: the same file, words in
lower case, 5-grams of words, 112 permutations.

    python pretrain/data/tests/minhash_rate.py TEXTS.jsonl
"""

import json
import re
import sys
import time

from rensa import RMinHash

texts = [json.loads(line)["text"] for line in open(sys.argv[1], encoding="utf-8")]
size = sum(len(text.encode()) for text in texts)
word = re.compile(r"\w+")


def whole(text):
    words = word.findall(text.lower())
    signature = RMinHash(num_perm=112, seed=1)
    signature.update([" ".join(words[i : i + 5]) for i in range(len(words) - 4)])
    return signature.digest()


for _ in range(3):
    start = time.perf_counter()
    for text in texts:
        whole(text)
    all_in = time.perf_counter() - start
    grams = [[" ".join(w[i : i + 5]) for i in range(len(w) - 4)] for w in (word.findall(t.lower()) for t in texts)]
    start = time.perf_counter()
    for shingles in grams:
        signature = RMinHash(num_perm=112, seed=1)
        signature.update(shingles)
        signature.digest()
    alone = time.perf_counter() - start
    print(f"rensa: {size / 1e6 / all_in:.1f} MB/s with words and n-grams in Python, {size / 1e6 / alone:.1f} MB/s for signatures alone")
