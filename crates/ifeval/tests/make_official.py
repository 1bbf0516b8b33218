"""Verdicts of the official IFEval checkers on synthetic responses: makes official.jsonl.gz beside this file.

    pip install --no-deps lm_eval==0.4.13 && pip install langdetect==1.0.9 nltk==3.10.4 immutabledict
    NLTK_DATA=... python make_official.py                     # the stored cases: random parameters
    python make_official.py IFEVAL.jsonl.gz TEXTS.jsonl OUT   # every prompt of the published set x several responses

NLTK's English sentence model (punkt_tab) must be in NLTK_DATA; the wheel llama-index-core 0.14.25 contains it. TEXTS has one
{"text"} per line: passages from which responses are made. langdetect's seed is set to 0.
"""

import gzip, json, os, random, sys, types

for name in ("lm_eval", "lm_eval.tasks"):  # only the checkers: not the harness with its dependencies
    module = types.ModuleType(name)
    found = next(p for p in sys.path if os.path.isdir(os.path.join(p, "lm_eval")))
    module.__path__ = [os.path.join(found, *name.split("."))]
    sys.modules[name] = module
import langdetect
from lm_eval.tasks.ifeval import utils
from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

langdetect.DetectorFactory.seed = 0
rng = random.Random(20261124)

PASSAGES = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.",
    "Dr. Smith paid $3.50 at 5 p.m. on Jan. 3. Then he left! Why? Nobody knew... \"He is odd.\" said Mrs. Hill (his aunt.) She smiled.",
    "J. R. R. Tolkien wrote it in No. 20. The U.S. edition sold 3,000 copies; the U.K. one sold more.\nSee e.g. chapter 4. it begins so.",
    "def f(x):\n    return x + 1\n\nThe function adds one. It can't fail, isn't slow, and I'd use it; they'll NOT.",
    "HELLO WORLD. THIS IS A LOUD TEXT ABOUT THE USA AND NASA. I CAN'T STOP SHOUTING!",
    "all of this is written in small letters. there is nothing to see here, really.",
    "Das ist ein deutscher Satz. Hier kommt noch einer, z. B. mit Abkürzung.",
    "Ceci est une phrase. En voici une autre, avec des accents: à é ü.",
    "Это предложение на русском языке. И ещё одно.",
    "यह हिन्दी में एक वाक्य है। यह दूसरा वाक्य है।",
    "Hii ni sentensi kwa Kiswahili. Na hii ni nyingine tena, ndugu yangu.",
    "Questa è una frase in italiano, e questa è un'altra!",
    "- first point\n- second point\n* third point\n  * nested *bold* point\n** not a bullet",
    "# Title\n\n*one* and **two** and ***three*** and * * and ** **\n\n1. item\n2. item",
    "{\"a\": [1, 2.5e3, null, NaN], \"b\": {\"c\": \"x\\u00e9\"}}",
    "```json\n{\"answer\": true}\n```",
    "My answer is yes.", "My answer is maybe. Or not.", "12345 67 !!! ???", "<<A Title>>\nText under it.", "<< >>",
]


def words(n):
    return " ".join(rng.choice("tree river stone Light DARK song über 42 it's well-known e.g. end. why? so! a, b; (c) \"d\"".split()) for _ in range(n))


def passage(texts):
    parts = [rng.choice(texts) for _ in range(rng.randint(1, 4))]
    return rng.choice(["\n", "\n\n", " ", "\n***\n", "\n\n\n\n"]).join(parts)


def follow(kind, k, prompt, texts):
    """A response that follows the instruction, or nearly."""
    body, n = passage(texts), rng.choice([-1, 0, 0, 0, 1])
    count = lambda name: max(0, (k.get(name) or 1) + n)
    match kind.split(":")[1]:
        case "capital_word_frequency": return " ".join(["NASA" if i % 2 else "I" for i in range(count("capital_frequency"))]) + " and more. words here"
        case "english_capital": return body.upper()
        case "english_lowercase": return body.lower()
        case "repeat_prompt": return rng.choice(["", " ", "x"]) + k["prompt_to_repeat"] + "\n\n" + body
        case "two_responses": return rng.choice(["", "******\n"]) + body + "\n******\n" + rng.choice([body, "Another."]) + rng.choice(["", "******", "\n******\nThird"])
        case "number_placeholders": return " ".join("[name]" for _ in range(count("num_placeholders"))) + rng.choice(["", " [a\nb]", " [[x]]"])
        case "postscript": return body + "\n\n" + rng.choice([k["postscript_marker"], k["postscript_marker"].lower(), "P. S.", "PS", "P.P. S"]) + " more"
        case "constrained_response": return rng.choice(["My answer is yes.", "My answer is no", "  My answer is maybe.\nReally.", "my answer is yes."])
        case "json_format": return rng.choice(['{"a": 1}', '```json\n[1, 2]\n```', '```\n{"a": NaN}\n```', '{"a": "NaN \\" Infinity"}', '{a: 1}', '[-Infinity]', '"x"', '{"a": 1,}', '{"a": "\n"}', "```JSON{}```", "tru"])
        case "multiple_sections": return "\n".join(f"{k['section_spliter']} {i + 1}\ntext" for i in range(count("num_sections")))
        case "number_bullet_lists": return "\n".join(rng.choice(["* x", "- y", "  * z", "** w", "*\nq"]) for _ in range(count("num_bullets")))
        case "number_highlighted_sections": return " ".join(rng.choice(["*a b*", "**c**", "* *", "*d\ne*"]) for _ in range(count("num_highlights")))
        case "title": return rng.choice(["<<T>>", "<<>>", "<< >>", "<<a\nb>>", "<<<x>>>", "<T>"]) + body
        case "existence": return body + " " + " ".join(w.upper() if rng.random() < .5 else w for w in k["keywords"][: max(0, len(k["keywords"]) + min(0, n))])
        case "forbidden_words": return body + " " + rng.choice(["", *k["forbidden_words"]]) + rng.choice(["", "s", "."])
        case "frequency": return body + " " + " ".join([k["keyword"]] * count("frequency"))
        case "letter_frequency": return "xyz 1 " * 2 + k["letter"].upper() * count("let_frequency")
        case "response_language": return rng.choice(texts)
        case "nth_paragraph_first_word":
            parts = ["Some text here."] * max(1, k["num_paragraphs"] + n)
            at = min(len(parts) - 1, k["nth_paragraph"] - 1)
            parts[at] = rng.choice(["", "'", '"', "'\""]) + k["first_word"] + rng.choice(["", ",", "'s", "x", "."]) + " and so on"
            return rng.choice(["\n\n", "\n\n", "\n\n\n\n", "\n"]).join(parts)
        case "number_paragraphs": return rng.choice(["\n***\n", " *** ", "\n\n***\n\n"]).join(["A paragraph."] * count("num_paragraphs")) + rng.choice(["", "\n***", "\n***\n***"])
        case "number_sentences": return " ".join(rng.choice(["It rains.", "Does it?", "No!", "Mr. X came at 5 p.m. today.", "\"Yes.\"", "(Well.)"]) for _ in range(count("num_sentences")))
        case "number_words": return " ".join(["word"] * count("num_words"))
        case "no_comma": return body.replace(",", "") if n >= 0 else body
        case "end_checker": return body + rng.choice([" ", "\n"]) + k["end_phrase"] + rng.choice(["", "\n", '"', "!", " x"])
        case "quotation": return rng.choice(['"%s"', '"%s', '%s"', ' "%s" \n', "'%s'"]) % body
    raise ValueError(kind)


def verdict(ids, kwargs, prompt, response):
    example = utils.InputExample(0, ids, prompt, kwargs)
    strict = utils.test_instruction_following_strict(example, response).follow_instruction_list
    loose = utils.test_instruction_following_loose(example, response).follow_instruction_list
    return [bool(x) for x in strict], [bool(x) for x in loose]


def parameters(kind):
    relation = rng.choice(["less than", "at least"])
    n = rng.randint(1, 6)
    match kind.split(":")[1]:
        case "capital_word_frequency": return {"capital_frequency": n, "capital_relation": relation}
        case "repeat_prompt": return {"prompt_to_repeat": rng.choice(["Write a Poem.", "What is 2+2?\nExplain"])}
        case "number_placeholders": return {"num_placeholders": n}
        case "postscript": return {"postscript_marker": rng.choice(["P.S.", "P.P.S"])}
        case "multiple_sections": return {"section_spliter": rng.choice(["Section", "SECTION", "Day", "PART"]), "num_sections": n}
        case "number_bullet_lists": return {"num_bullets": n}
        case "number_highlighted_sections": return {"num_highlights": n}
        case "existence": return {"keywords": rng.sample(["fortune", "river", "stone", "NASA", "left"], 2)}
        case "forbidden_words": return {"forbidden_words": rng.sample(["fortune", "is", "item", "write", "point"], 2)}
        case "frequency": return {"keyword": rng.choice(["is", "the", "point", "text"]), "relation": relation, "frequency": n}
        case "letter_frequency": return {"letter": rng.choice("aeqZ"), "let_relation": relation, "let_frequency": n}
        case "response_language": return {"language": rng.choice(["en", "de", "fr", "ru", "hi", "sw", "it"])}
        case "nth_paragraph_first_word":
            return {"num_paragraphs": n, "nth_paragraph": rng.randint(1, n), "first_word": rng.choice(["hello", "Weekend", "it's"])}
        case "number_paragraphs": return {"num_paragraphs": n}
        case "number_sentences": return {"relation": relation, "num_sentences": n}
        case "number_words": return {"relation": relation, "num_words": rng.randint(5, 40)}
        case "end_checker": return {"end_phrase": rng.choice(["Any other questions?", "Is there anything else I can help with?"])}
    return {}


def main():
    rows = []
    if len(sys.argv) == 4:
        texts = [json.loads(line)["text"] for line in open(sys.argv[2])]
        for line in gzip.open(sys.argv[1], "rt"):
            item = json.loads(line)
            ids, kwargs, prompt = item["instruction_id_list"], item["kwargs"], item["prompt"]
            responses = [passage(texts) for _ in range(3)] + [passage(PASSAGES), words(rng.randint(1, 400))]
            for kind, k in zip(ids, kwargs):
                responses += [follow(kind, k, prompt, texts + PASSAGES) for _ in range(3)]
            for response in responses:
                strict, loose = verdict(ids, kwargs, prompt, response)
                rows.append({"ids": ids, "kwargs": kwargs, "response": response, "strict": strict, "loose": loose, "prompt": item["id"]})
        path = sys.argv[3]
    else:
        for kind in sorted(INSTRUCTION_DICT):
            for i in range(40):
                k = parameters(kind)
                response = follow(kind, k, "", PASSAGES) if i % 4 else rng.choice([passage(PASSAGES), words(rng.randint(1, 60))])
                strict, loose = verdict([kind], [k], "", response)
                rows.append({"ids": [kind], "kwargs": [k], "response": response, "strict": strict, "loose": loose})
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "official.jsonl.gz")
    with gzip.GzipFile(path, "wb", mtime=0) as out:
        for row in rows:
            out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
    print(len(rows), "cases,", sum(x for r in rows for x in r["strict"]), "of", sum(len(r["strict"]) for r in rows), "followed ->", path)


main()
