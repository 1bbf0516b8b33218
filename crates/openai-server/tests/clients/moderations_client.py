"""The openai library's moderations against `herd serve --guard` or `herd safety guard serve`.

Usage: python moderations_client.py http://127.0.0.1:8001/v1 SAFE_TEXT [UNSAFE_TEXT]

Raises at the first difference from OpenAI's own API.
"""

import sys

import openai

base, safe, unsafe = sys.argv[1], sys.argv[2], sys.argv[3:]
client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)
assert client.models.list().data, "no model is listed"

one = client.moderations.create(input=safe)
assert one.id.startswith("modr-") and len(one.results) == 1, one
assert one.results[0].flagged is False and one.results[0].categories.violence is False, one
assert 0 <= one.results[0].category_scores.self_harm_intent <= 1, one
assert one.results[0].category_applied_input_types.hate == ["text"], one

several = client.moderations.create(input=[safe, *unsafe], model="omni-moderation-latest")
assert [result.flagged for result in several.results] == [False] + [True] * len(unsafe), several
for result in several.results[1:]:
    assert result.model_extra["herd"]["violated"], result

parts = client.moderations.create(input=[{"type": "text", "text": safe}])
assert len(parts.results) == 1 and not parts.results[0].flagged, parts
image = {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}
try:
    client.moderations.create(input=[image])
    raise AssertionError("an image was judged")
except openai.BadRequestError as error:
    assert "cannot judge a part of type \"image_url\"" in str(error), error
print("moderations: as the openai library expects")
