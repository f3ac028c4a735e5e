"""OpenAI's SDK speaks Responses to all three kinds of providers through a real Granian."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from .gateway import KEY, Gateway
from .upstream import Upstream

#: Model → where its upstream is asked.
MODELS = {
    "sonnet": "/v1/messages",
    "local:qwen3:8b": "/api/chat",
    "sim:gpt-5.1": "/openai/v1/chat/completions",
}
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
PATCH: Any = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Changes files",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'},
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(all_providers: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{all_providers.base_url}/v1", api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture(scope="module", autouse=True)
def learnt(all_providers: Gateway) -> None:
    """What a server refuses is learnt by asking it: the scripted answers are for the requests after that."""
    with openai.OpenAI(base_url=f"{all_providers.base_url}/v1", api_key=KEY) as sdk:
        for model in MODELS:
            sdk.responses.create(model=model, input="Hi", max_output_tokens=500)


def final(client: openai.OpenAI, **asked: Any) -> tuple[list[Any], Any]:
    """The events of a stream as the SDK's accumulator took them, and the response that they end with."""
    with client.responses.stream(**asked) as stream:
        events = list(stream)
        return events, stream.get_final_response()


@pytest.mark.parametrize("stream", [False, True])
def test_a_question_is_answered(client: openai.OpenAI, upstream: Upstream, model: str, stream: bool) -> None:
    upstream.script({"path": MODELS[model], "text": "Good day to you."})
    asked: Any = {"model": model, "input": "Hello", "instructions": "Be polite."}
    if stream:
        events, answer = final(client, **asked)
        assert [event.type for event in events][:2] == ["response.created", "response.in_progress"]
        assert events[-1].type == "response.completed"
        assert [event.sequence_number for event in events] == list(range(len(events)))
    else:
        answer = client.responses.create(**asked)
    assert answer.output_text == "Good day to you."
    assert answer.status == "completed"
    assert answer.model == model
    assert answer.usage is not None
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert answer.to_dict()["store"] is False


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_and_their_outputs_read(
    client: openai.OpenAI, upstream: Upstream, model: str, stream: bool
) -> None:
    blocks: list[Any] = [
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}},
        {"type": "tool_use", "id": "toolu_2", "name": "get_weather", "input": {"city": "Rome"}},
    ]
    upstream.script({"path": MODELS[model], "blocks": blocks, "stop_reason": "tool_use"})
    asked: Any = {"model": model, "tools": [TOOL, PATCH]}
    question: Any = [{"role": "user", "content": "Weather?"}]
    first = final(client, **asked, input=question)[1] if stream else None
    first = first or client.responses.create(**asked, input=question)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    replay = [item.to_dict() for item in first.output]
    for item in replay:  # the SDK's own addition
        item.pop("parsed_arguments", None)
    outputs: list[Any] = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"} for call in calls
    ]
    second = client.responses.create(**asked, input=[*question, *replay, *outputs])
    assert second.status == "completed"
    assert second.output_text
    received = upstream.asked(MODELS[model])[1]["body"]["messages"]
    assert [m["role"] for m in received] in (
        ["user", "assistant", "tool", "tool"],
        ["user", "assistant", "user"],  # Claude: both results in one turn
    )


def test_a_limit_that_nobody_has_asked_for_is_not_repeated(client: openai.OpenAI, model: str) -> None:
    """The gateway's default is another one where there are tools, or thinking."""
    assert client.responses.create(model=model, input="Hi").max_output_tokens is None
    assert client.responses.create(model=model, input="Hi", max_output_tokens=700).max_output_tokens == 700


def test_a_patch_comes_as_plain_text(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    text = "*** Begin Patch\n*** End Patch"
    block = {"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {"input": text}}
    upstream.script({"path": MODELS[model], "blocks": [block], "stop_reason": "tool_use"})
    _, answer = final(client, model=model, input="Patch it", tools=[PATCH])
    (call,) = [item for item in answer.output if item.type != "reasoning"]
    assert (call.type, call.name, call.input) == ("custom_tool_call", "apply_patch", text)


def test_claudes_thinking_comes_back_to_it_byte_for_byte(client: openai.OpenAI, upstream: Upstream) -> None:
    thinking = {"type": "thinking", "thinking": "Hm — 2 and 2…", "signature": "c2lnbmF0dXJl"}
    redacted = {"type": "redacted_thinking", "data": "b3BhcXVl"}
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
    upstream.script({"strict": False, "blocks": [thinking, redacted, call], "stop_reason": "tool_use"})
    question: Any = [{"role": "user", "content": "Weather?"}]
    asked: Any = {
        "model": "sonnet",
        "tools": [TOOL],
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    _, first = final(client, **asked, input=question)
    assert any(item.type == "reasoning" and item.encrypted_content for item in first.output)
    replay = [item.to_dict() for item in first.output]
    for item in replay:
        item.pop("parsed_arguments", None)
    output: Any = {"type": "function_call_output", "call_id": "toolu_1", "output": "rain"}
    upstream.script({"strict": False, "text": "It rains."})
    client.responses.create(**asked, input=[*question, *replay, output])
    assistant = upstream.asked("/v1/messages")[1]["body"]["messages"][1]
    assert [b for b in assistant["content"] if b["type"] != "tool_use"] == [thinking, redacted]


@pytest.mark.parametrize("fault", ["reset", "truncate", "cut"])
def test_a_stream_that_breaks_off_fails_the_response(
    client: openai.OpenAI, upstream: Upstream, model: str, fault: str
) -> None:
    upstream.script({"path": MODELS[model], "tokens": 30, "fault": fault, "after": 8, "delay_ms": 1})
    events = list(client.responses.create(model=model, input="Hi", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"
    assert events[-1].response.error is not None
    assert "response.completed" not in {event.type for event in events}


def test_an_answer_that_is_cut_short_is_incomplete(
    client: openai.OpenAI, upstream: Upstream, model: str
) -> None:
    upstream.script({"path": MODELS[model], "text": "So far", "stop_reason": "max_tokens"})
    events = list(client.responses.create(model=model, input="Hi", stream=True, max_output_tokens=500))
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details is not None
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"


def test_what_would_need_a_memory_says_what_to_do_instead(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="previous_response_id") as refused:
        client.responses.create(model="sonnet", input="Hi", previous_response_id="resp_1")
    assert refused.value.response.headers["x-should-retry"] == "false"
    for stored in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError, match="not stored"):
            stored("resp_1")
    with pytest.raises(openai.NotFoundError, match="not stored"):
        client.responses.input_items.list("resp_1")
    with pytest.raises(openai.NotFoundError, match="not compacted"):
        client.responses.compact(model="sonnet", input="Hi")


def test_input_tokens_are_counted(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    counted = client.responses.input_tokens.with_raw_response.count(model=model, input="one two three " * 50)
    assert counted.headers["x-gateway-estimated"] == "input_tokens"
    answer = counted.parse()
    assert answer.object == "response.input_tokens"
    assert 50 < answer.input_tokens < 500
    assert upstream.asked(MODELS[model]) == []
