"""langchain-openai against a running `herd serve`. Usage: python langchain_client.py http://127.0.0.1:8000/v1"""

import sys

import openai
import pydantic
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

base = sys.argv[1]
name = openai.OpenAI(base_url=base, api_key="none").models.list().data[0].id
common = dict(model=name, base_url=base, api_key="none", temperature=0, max_retries=0)
model = ChatOpenAI(max_tokens=40, seed=1, frequency_penalty=0.1, **common)
question = [SystemMessage("Be short."), HumanMessage("What is the capital of France?")]
text = model.invoke(question).content
assert "".join(piece.content for piece in model.stream(question)) == text
assert [answer.content for answer in model.batch([question, question])] == [text, text]
assert OpenAI(max_tokens=8, best_of=2, n=1, **common).invoke("The capital of France is")


class City(pydantic.BaseModel):
    """A city."""

    name: str = pydantic.Field(max_length=20)
    country: str = pydantic.Field(max_length=20)


long = ChatOpenAI(max_tokens=200, **common)
for method in ["json_schema", "function_calling"]:
    city = long.with_structured_output(City, method=method).invoke("Name a city and its country as JSON.")
    assert isinstance(city, City), (method, city)


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


bound = long.bind_tools([add], tool_choice="add")
called = bound.invoke("What is 3 + 4?")
assert called.tool_calls[0]["name"] == "add" and set(called.tool_calls[0]["args"]) == {"a", "b"}, called
free = long.bind_tools([add]).invoke("What is 3 + 4?")
result = ToolMessage("7", tool_call_id=called.tool_calls[0]["id"])
assert isinstance(long.bind_tools([add]).invoke([HumanMessage("What is 3 + 4?"), called, result]), AIMessage)
vectors = OpenAIEmbeddings(model=name, base_url=base, api_key="none", check_embedding_ctx_length=False)
assert len(vectors.embed_documents(["a", "b"])) == 2
print(f"langchain-openai: everything as expected, {text!r}; left alone the model called {len(free.tool_calls)} tools")
