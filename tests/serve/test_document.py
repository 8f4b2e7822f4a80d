"""The OpenAPI document: what it says a field may hold is what the server takes."""

import pytest
from pydantic import ValidationError

from midspan.serve.wire import ChatRequest, CompletionRequest

LEAST = {
    ChatRequest: {"model": "organism", "messages": [{"role": "user", "content": "hello"}]},
    CompletionRequest: {"model": "organism", "prompt": "hello"},
}


@pytest.mark.parametrize("request_type", LEAST)
def test_what_openai_has_and_canvases_cannot_follow_is_listed(request_type):
    properties = request_type.model_json_schema()["properties"]
    listed = {name: field["enum"] for name, field in properties.items() if "enum" in field}
    assert {"presence_penalty", "logit_bias", "logprobs"} <= set(listed)
    for name, values in listed.items():
        for value in values:
            request_type(**LEAST[request_type], **{name: value})
        with pytest.raises(ValidationError, match=name):
            request_type(**LEAST[request_type], **{name: "something else"})
