"""Promises of the request translation that hold for every request."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from perf.simulated import check
from providers.errors import BadRequest
from providers.translate.chat_anthropic import API_VERSION, to_anthropic
from providers.translate.messages import END_TURN, MISSING_RESULT
from providers.types import ModelInfo

from .strategies import JSON, MODELS, hostile, messages, requests

HEADERS = {"x-api-key": "k", "anthropic-version": API_VERSION}


@settings(max_examples=300)
@given(body=requests(), info=MODELS, defaulted=st.booleans())
def test_the_strict_api_accepts_every_translated_request(
    body: dict[str, Any], info: ModelInfo, defaulted: bool
) -> None:
    request = to_anthropic(body, model=info.id, info=info, max_tokens_defaulted=defaulted)
    refusal = check(orjson.loads(request.encode()), HEADERS)
    assert refusal is None or "not_found" in refusal.type, (refusal, request.body)


@settings(max_examples=200)
@given(body=hostile(), info=MODELS)
def test_only_bad_request_escapes_from_a_hostile_body(body: dict[str, Any], info: ModelInfo) -> None:
    refused = refusal_of(body, info)
    assert refused is None or (refused.status == 400 and refused.message)


@given(
    body=st.dictionaries(st.sampled_from(["messages", "tools", "tool_choice", "stop", "n"]), JSON),
    info=MODELS,
)
def test_only_bad_request_escapes_from_nonsense(body: dict[str, Any], info: ModelInfo) -> None:
    refused = refusal_of({"messages": 1, **body}, info)
    assert refused is None or refused.status == 400


def refusal_of(body: dict[str, Any], info: ModelInfo) -> BadRequest | None:
    """Whatever else is raised escapes, and fails the test."""
    try:
        to_anthropic(body, model=info.id, info=info).encode()
    except BadRequest as refused:
        return refused
    return None


@settings(max_examples=60)
@given(body=requests(), info=MODELS)
def test_the_translation_is_a_pure_function(body: dict[str, Any], info: ModelInfo) -> None:
    before = copy.deepcopy(body)
    first = to_anthropic(body, model=info.id, info=info)
    assert body == before
    assert to_anthropic(before, model=info.id, info=info).encode() == first.encode()


@settings(max_examples=200)
@given(history=messages(), more=messages(max_size=4), info=MODELS)
def test_a_longer_conversation_begins_with_the_bytes_of_the_shorter(
    history: list[dict[str, Any]], more: list[dict[str, Any]], info: ModelInfo
) -> None:
    """Cache markers aside, which move by the caller's own will, and aside from the last turn, into
    which the next user message may still be merged."""
    history, more = _unmarked(history), _unmarked(more)
    if not any(m["role"] in ("user", "assistant", "tool") for m in history):
        history = [*history, {"role": "user", "content": "hi"}]  # else `more` may go on with the system text
    short = to_anthropic({"messages": history}, model=info.id, info=info).body
    long = to_anthropic({"messages": history + more}, model=info.id, info=info).body
    assert short.get("system") == long.get("system")
    settled = _before_last_turn(short["messages"])
    assert orjson.dumps(long["messages"])[: len(orjson.dumps(settled)) - 1] == orjson.dumps(settled)[:-1]


@settings(max_examples=40)
@given(body=requests(), info=MODELS)
def test_the_sdk_types_describe_every_translated_request(body: dict[str, Any], info: ModelInfo) -> None:
    request = to_anthropic(body, model=info.id, info=info)
    _sdk_adapter().validate_python(orjson.loads(request.encode()))


_ADAPTERS: list[TypeAdapter[Any]] = []


def _sdk_adapter() -> TypeAdapter[Any]:
    """Made on first use: importing the SDK takes two seconds."""
    if not _ADAPTERS:
        from anthropic.types.message_create_params import MessageCreateParamsStreaming

        _ADAPTERS.append(TypeAdapter(MessageCreateParamsStreaming))
    return _ADAPTERS[0]


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _unmarked(v) for k, v in value.items() if k != "cache_control"}
    return [_unmarked(v) for v in value] if isinstance(value, list) else value


def _before_last_turn(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns that no further message can be merged into. A turn that the translation itself had to
    add behind a final assistant message gives way, and that assistant turn may then go on."""
    end = len(turns)
    while end and turns[end - 1]["role"] == "system":
        end -= 1
    if end and all(_added(block) for block in turns[end - 1]["content"]):
        end -= 1
    return turns[: end - 1] if end else []


def _added(block: dict[str, Any]) -> bool:
    return block.get("text") == END_TURN or block.get("content") == MISSING_RESULT


@settings(max_examples=60)
@given(body=requests(), info=MODELS)
def test_messages_of_plain_text_are_translated_like_those_that_say_more(
    body: dict[str, Any], info: ModelInfo
) -> None:
    wordy = {**body, "messages": [{**message, "name": None} for message in body["messages"]]}
    assert _outcome(wordy, info) == _outcome(body, info)


def _outcome(body: dict[str, Any], info: ModelInfo) -> Any:
    try:
        return to_anthropic(body, model=info.id, info=info)
    except BadRequest as refused:
        return refused.message
