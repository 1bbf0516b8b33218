"""Measures how many answers with a given schema parse, and the cost of the schema. Usage: python structured.py URL [ANSWERS]

Answers that end by themselves must parse and match; truncated ones are counted separately. The cost compares tokens per second of the
same requests with and without a grammar, interleaved, with the same number of tokens.
"""

import asyncio
import json
import sys
import time

import jsonschema
import openai

base, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 500
client = openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0, timeout=3600)
SCHEMAS = [
    {"type": "object", "properties": {"name": {"type": "string", "maxLength": 30}, "age": {"type": "integer", "minimum": 0,
     "maximum": 120}, "email": {"type": "string", "maxLength": 30}}, "required": ["name", "age"], "additionalProperties": False},
    {"type": "object", "properties": {"answer": {"enum": ["yes", "no", "maybe"]}, "reasons": {"type": "array", "items":
     {"type": "string", "maxLength": 40}, "minItems": 1, "maxItems": 3}}, "required": ["answer", "reasons"],
     "additionalProperties": False},
    {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}, "on": {"type": "boolean"}},
     "required": ["x", "on"], "additionalProperties": False}, "minItems": 1, "maxItems": 3},
    {"type": "object", "properties": {"title": {"type": "string"}, "pages": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
     "author": {"$ref": "#/$defs/person"}}, "required": ["title", "author"], "$defs": {"person": {"type": "object",
     "properties": {"first": {"type": "string"}, "last": {"type": "string"}}, "required": ["first", "last"]}}},
    {"type": "object"},
]
PROMPTS = ["Describe a person as JSON.", "Should I learn Rust? Answer as JSON.", "Give me data as JSON.", "Describe a book as JSON."]


async def main():
    model = (await client.models.list()).data[0].id

    async def ask(number, **more):
        messages = [{"role": "user", "content": PROMPTS[number % len(PROMPTS)]}]
        return await client.chat.completions.create(model=model, messages=messages, seed=number, temperature=0.8, **more)

    limit = asyncio.Semaphore(32)

    async def constrained(number):
        schema = SCHEMAS[number % len(SCHEMAS)]
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        async with limit:
            choice = (await ask(number, max_tokens=200, response_format=form)).choices[0]
        if choice.finish_reason == "length":
            return "cut"
        try:
            jsonschema.validate(json.loads(choice.message.content), schema)
            return "fits"
        except (json.JSONDecodeError, jsonschema.ValidationError) as error:
            print("does not fit:", repr(choice.message.content), str(error)[:200])
            return "does not fit"

    results = await asyncio.gather(*(constrained(number) for number in range(count)))
    print({word: results.count(word) for word in sorted(set(results))}, flush=True)

    # The same number of tokens with and without: a grammar that allows every text for so long.
    grammar = {"guided_json": {"type": "array", "items": {"type": "string", "minLength": 20}, "minItems": 1000}}
    speeds = {"plain": [], "constrained": []}
    for turn in range(10):
        for name in ["plain", "constrained"] if turn % 2 else ["constrained", "plain"]:
            more = {"ignore_eos": True} if name == "plain" else grammar
            start = time.perf_counter()
            answers = await asyncio.gather(*(ask(turn * 16 + n, max_tokens=100, extra_body=more) for n in range(16)))
            tokens = sum(answer.usage.completion_tokens for answer in answers)
            speeds[name].append(tokens / (time.perf_counter() - start))
    ratios = sorted(c / p for c, p in zip(speeds["constrained"], speeds["plain"]))
    print({name: round(sum(runs) / len(runs), 1) for name, runs in speeds.items()}, "tokens/s;",
          f"ratio of each pair: median {ratios[len(ratios) // 2]:.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}")


asyncio.run(main())
