"""inspect-ai against a running `herd serve`. Usage: python inspect_client.py http://127.0.0.1:8000/v1

It runs a task with a schema, one with a required tool call, and one with stop texts and penalties.
"""

import sys
import tempfile

import openai
import pydantic
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, ResponseSchema, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, system_message, use_tools
from inspect_ai.tool import ToolFunction, tool
from inspect_ai.util import json_schema

base = sys.argv[1]
name = openai.OpenAI(base_url=base, api_key="none").models.list().data[0].id
model = get_model(f"openai-api/herd/{name}", base_url=base, api_key="none")
calls = []


class Capital(pydantic.BaseModel):
    city: str = pydantic.Field(max_length=20)


@tool
def add():
    async def execute(a: int, b: int) -> str:
        """Adds two numbers.

        Args:
            a: The first.
            b: The second.
        """
        calls.append((a, b))
        return str(a + b)

    return execute


question = [Sample(input="What is the capital of France?", target="Paris")]
schema = ResponseSchema(name="capital", json_schema=json_schema(Capital))
tasks = [
    Task(question, [system_message("Be short."), generate()], scorer=includes(), name="plain",
         config=GenerateConfig(temperature=0, max_tokens=30, seed=1, stop_seqs=["\n"], frequency_penalty=0.2, logprobs=True)),
    Task(question, [generate()], scorer=includes(), name="schema",
         config=GenerateConfig(temperature=0, max_tokens=60, response_schema=schema)),
    Task([Sample(input="What is 3 + 4?", target="7")], [use_tools(add(), tool_choice=ToolFunction("add")), generate("single")],
         scorer=includes(), name="tools", config=GenerateConfig(temperature=0, max_tokens=120)),
]
with tempfile.TemporaryDirectory() as folder:
    logs = eval(tasks, model=model, log_dir=folder, display="none", max_retries=0)
    for log in logs:
        assert log.status == "success", (log.eval.task, log.error)
        assert all(sample.error is None for sample in log.samples), log.eval.task
    Capital.model_validate_json(logs[1].samples[0].output.completion)
    assert calls, "the tool was not called"
    print("inspect-ai: everything as expected,", {log.eval.task: log.samples[0].output.completion[:40] for log in logs})
