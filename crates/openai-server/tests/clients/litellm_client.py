"""litellm against a running `herd serve`. Usage: python litellm_client.py http://127.0.0.1:8000/v1"""

import json
import sys

import litellm
import openai
import pydantic

base = sys.argv[1]
model = "openai/" + openai.OpenAI(base_url=base, api_key="none").models.list().data[0].id
common = dict(model=model, api_base=base, api_key="none", temperature=0, max_tokens=16)
messages = [{"role": "user", "content": "What is the capital of France?"}]

text = litellm.completion(messages=messages, **common).choices[0].message.content
pieces = litellm.completion(messages=messages, stream=True, **common)
assert "".join(p.choices[0].delta.content or "" for p in pieces) == text
assert litellm.completion(messages=messages, n=2, seed=1, frequency_penalty=0.5, **{**common, "temperature": 1}).choices[1]


class Answer(pydantic.BaseModel):
    capital: str = pydantic.Field(max_length=20)


common["max_tokens"] = 100
answer = litellm.completion(messages=messages, response_format={"type": "json_object"}, **common)
assert answer.choices[0].finish_reason == "length" or isinstance(json.loads(answer.choices[0].message.content), dict)
schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": Answer.model_json_schema(), "strict": True}}
Answer.model_validate_json(litellm.completion(messages=messages, response_format=schema, **common).choices[0].message.content)
tool = {"type": "function", "function": {"name": "answer", "parameters": Answer.model_json_schema()}}
called = litellm.completion(messages=messages, tools=[tool], tool_choice="required", parallel_tool_calls=False, **common)
Answer.model_validate_json(called.choices[0].message.tool_calls[0].function.arguments)
vectors = litellm.embedding(model=model, input=["a", "b"], api_base=base, api_key="none", encoding_format="float")
assert len(vectors.data) == 2
print(f"litellm: everything as expected, {text!r}")
