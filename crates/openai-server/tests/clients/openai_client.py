"""The openai library against a running `herd serve`. Usage: python openai_client.py http://127.0.0.1:8000/v1

Raises at the first difference from OpenAI's own API.
"""

import asyncio
import json
import sys

import openai
import pydantic

base = sys.argv[1]
client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)
model = client.models.list().data[0].id
messages = [{"role": "user", "content": "What is the capital of France?"}]
common = dict(model=model, messages=messages, temperature=0, max_tokens=16)

whole = client.chat.completions.create(**common, logprobs=True, top_logprobs=3)
choice = whole.choices[0]
assert choice.message.content == "The capital of France is Paris.", choice
assert choice.finish_reason == "stop"
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
assert len(choice.logprobs.content) == whole.usage.completion_tokens
assert len(choice.logprobs.content[0].top_logprobs) == 3
assert bytes(choice.logprobs.content[0].bytes).decode() == choice.logprobs.content[0].token

pieces = list(client.chat.completions.create(**common, stream=True, stream_options={"include_usage": True}))
assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == choice.message.content
assert pieces[-1].usage == whole.usage, (pieces[-1].usage, whole.usage)

story = [{"role": "user", "content": "Tell me a story about a dragon."}]
drawn = {**common, "messages": story, "temperature": 1, "n": 4, "seed": 3, "stop": ["!", "\n"]}
several = client.chat.completions.create(**drawn)
again = client.chat.completions.create(**drawn)
texts = [c.message.content for c in several.choices]
assert texts == [c.message.content for c in again.choices] and len(set(texts)) > 1, texts

text = client.completions.create(model=model, prompt="The capital of France is", max_tokens=3, temperature=0, logprobs=2)
assert text.choices[0].text.startswith(" Paris"), text
assert text.choices[0].logprobs.tokens[0] == " Paris"
streamed = client.completions.create(model=model, prompt="The capital of France is", max_tokens=3, temperature=0, stream=True)
assert "".join(p.choices[0].text for p in streamed) == text.choices[0].text

with client.chat.completions.stream(**common) as stream:
    for _ in stream:
        pass
    assert stream.get_final_completion().choices[0].message.content == choice.message.content

for arguments, error in [
    (dict(common, model="gpt-5"), openai.NotFoundError),
    (dict(common, temperature=-1), openai.BadRequestError),
    (dict(common, tools=[{"type": "web_search"}]), openai.BadRequestError),
    (dict(common, extra_body={"nonsense": 1}), openai.BadRequestError),
    (dict(common, n=10_000), openai.BadRequestError),
]:
    try:
        client.chat.completions.create(**arguments)
        raise SystemExit(f"no {error.__name__}")
    except error as e:
        assert e.body["message"], e

try:
    openai.OpenAI(base_url=base.removesuffix("/v1"), api_key="none", max_retries=0).chat.completions.create(**common)
    raise SystemExit("a path without /v1 was served")
except openai.NotFoundError as e:
    assert "there is nothing at /chat/completions" in e.body["message"], e


class City(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    country: str = pydantic.Field(max_length=20)
    capital: bool


ask = [{"role": "user", "content": "Describe the city of Paris as JSON with the fields name, country and capital."}]
parsed = client.chat.completions.parse(model=model, messages=ask, response_format=City, temperature=0, max_tokens=200)
city = parsed.choices[0].message.parsed
assert isinstance(city, City), parsed
free = client.chat.completions.create(
    model=model, messages=ask, response_format={"type": "json_object"}, temperature=0, max_tokens=200
)
assert free.choices[0].finish_reason == "length" or json.loads(free.choices[0].message.content) is not None
choice_of = client.chat.completions.create(**common, extra_body={"guided_choice": ["Paris", "Rome"]})
assert choice_of.choices[0].message.content in ("Paris", "Rome")

tool = openai.pydantic_function_tool(City, name="describe_city", description="Takes down a city.")
called = client.chat.completions.create(
    model=model, messages=ask, tools=[tool], tool_choice="required", temperature=0, max_tokens=200, parallel_tool_calls=False
)
assert called.choices[0].finish_reason == "tool_calls", called
call = called.choices[0].message.tool_calls[0]
City.model_validate_json(call.function.arguments)
with client.chat.completions.stream(
    model=model, messages=ask, tools=[tool], tool_choice="required", temperature=0, max_tokens=200, parallel_tool_calls=False
) as stream:
    for _ in stream:
        pass
    final = stream.get_final_completion().choices[0].message.tool_calls[0].function
    assert (final.name, final.arguments) == ("describe_city", call.function.arguments), final
history = [
    *ask,
    called.choices[0].message.model_dump(),
    {"role": "tool", "tool_call_id": call.id, "content": "done"},
]
after = client.chat.completions.create(model=model, messages=history, tools=[tool], temperature=0, max_tokens=20)
assert after.usage.prompt_tokens > called.usage.prompt_tokens

vectors = client.embeddings.create(model=model, input=["The cat sat on the mat.", "A cat was sitting on a mat.", "GDP grew."])
dot = lambda a, b: sum(x * y for x, y in zip(a.embedding, b.embedding))
a, b, c = vectors.data
assert dot(a, b) ** 2 / dot(a, a) / dot(b, b) > dot(a, c) ** 2 / dot(a, a) / dot(c, c)
assert client.models.retrieve(model).id == model


async def crowd():
    many = openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0)
    requests = [many.chat.completions.create(**{**common, "messages": story, "seed": i, "temperature": 1}) for i in range(40)]
    return [answer.choices[0].message.content for answer in await asyncio.gather(*requests)]


first, second = asyncio.run(crowd()), asyncio.run(crowd())
assert len(set(first)) > 1
assert first == second, "the same seeds gave other answers in another company"
print(f"openai {openai.__version__}: everything as expected, {len(first)} answers at once twice the same")
