"""What holds of every Messages request: prefixes stay, orders hold, nonsense is a 400 and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import assume, given
from hypothesis import strategies as st

from providers.anthropic.models import snapshot
from providers.errors import BadRequest
from providers.translate.chat_ollama import to_ollama
from providers.translate.messages_chat import to_chat
from providers.types import ModelCapabilities, ModelInfo

from .strategies import CACHE, JSON, TEXT

PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
NAMES = st.sampled_from(["read_file", "run", "mcp__jira__find", "late", "later"])


def _marked(block: dict[str, Any], mark: Any) -> dict[str, Any]:
    return {**block, "cache_control": mark} if mark else block


TEXTS = st.builds(lambda said, mark: _marked({"type": "text", "text": said}, mark), TEXT, CACHE)
SHOWN = st.one_of(
    TEXTS,
    st.builds(lambda mark: _marked({"type": "image", "source": PNG}, mark), CACHE),
    st.just({"type": "document", "source": PDF, "title": "a.pdf"}),
    st.just(
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}
    ),
    st.builds(lambda name: {"type": "tool_reference", "tool_name": name}, NAMES),
)
THOUGHTS = st.one_of(
    st.builds(lambda said: {"type": "thinking", "thinking": said, "signature": "c2ln"}, TEXT),
    st.just({"type": "redacted_thinking", "data": "xyz"}),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """As the API takes them: every call is answered by the turn behind it."""
    talk: list[dict[str, Any]] = []
    waiting: list[str] = []
    count = 0
    for _ in range(draw(st.integers(1, 5))):
        blocks: list[dict[str, Any]] = []
        for call_id in waiting:
            block: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id}
            content = draw(st.one_of(st.none(), TEXT, st.lists(SHOWN, max_size=3)))
            if content is not None:
                block["content"] = content
            if draw(st.booleans()):
                block["is_error"] = draw(st.booleans())
            blocks.append(_marked(block, draw(CACHE)))
        said = draw(st.one_of(TEXT, st.lists(TEXTS, max_size=2)))
        if blocks or not isinstance(said, str):
            blocks += said if isinstance(said, list) else [{"type": "text", "text": said}]
            talk.append({"role": "user", "content": blocks})
        else:
            talk.append({"role": "user", "content": said})
        if draw(st.integers(0, 4)) == 0:
            talk.append({"role": "system", "content": draw(st.one_of(TEXT, st.lists(TEXTS, max_size=2)))})
        answer = draw(st.lists(st.one_of(THOUGHTS, TEXTS), max_size=3))
        waiting = []
        for _ in range(draw(st.integers(0, 2))):
            count += 1
            waiting.append(f"toolu_{count}")
            given = draw(
                st.dictionaries(st.sampled_from(["path", "n"]), TEXT | st.integers(0, 9), max_size=2)
            )
            answer.append({"type": "tool_use", "id": waiting[-1], "name": draw(NAMES), "input": given})
        talk.append({"role": "assistant", "content": answer})
    return talk


TOOLS: list[dict[str, Any]] = [
    {"name": "late", "input_schema": {"type": "object"}, "defer_loading": True},
    {"name": "read_file", "input_schema": {"type": "object"}},
    {"name": "later", "input_schema": {"type": "object"}, "defer_loading": True},
]


@given(talk=conversations())
def test_a_longer_conversation_begins_as_the_shorter_one_did(talk: list[dict[str, Any]]) -> None:
    body = {"model": "m", "max_tokens": 9, "system": "Be.", "tools": TOOLS}
    whole = to_chat({**body, "messages": talk}).body
    for end, turn in enumerate(talk):
        if end and turn["role"] == "assistant":
            shorter = to_chat({**body, "messages": talk[:end]}).body
            for key in ("messages", "tools"):
                begun = orjson.dumps(shorter[key])[:-1]
                assert orjson.dumps(whole[key]).startswith(begun)


@given(talk=conversations())
def test_every_call_is_answered_by_the_messages_behind_it(talk: list[dict[str, Any]]) -> None:
    written = to_chat({"messages": talk}).body["messages"]
    waiting: list[str] = []
    for message in written:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
            assert isinstance(message["content"], str) or all(
                part["type"] == "text" for part in message["content"]
            )
        else:
            assert not waiting
            waiting = [call["id"] for call in message.get("tool_calls", ())]


def _words(value: Any) -> list[str]:
    """Every text and every piece of data in a conversation, sorted."""
    found: list[str] = []
    if isinstance(value, dict):
        match value:
            case {"type": "text", "text": said}:
                found += said.split()
            case {"type": "thinking", "thinking": said}:
                found += said.split()
            case {"type": "image" | "document", "source": {"data": data}}:
                found.append(data)
            case _:
                for key in ("content", "input"):
                    found += _words(value.get(key))
    elif isinstance(value, list):
        for item in value:
            found += _words(item)
    elif isinstance(value, str):
        found += value.split()
    return found


@given(talk=conversations())
def test_nothing_that_was_said_is_lost(talk: list[dict[str, Any]]) -> None:
    chat = to_chat({"messages": talk})
    assert chat.dropped == ()
    told = orjson.dumps(chat.body).decode()
    for word in _words(talk):
        inside = orjson.dumps(word).decode()[1:-1]
        assert inside in told or orjson.dumps(inside).decode()[1:-1] in told  # arguments are JSON in JSON


BLIND = ModelInfo("m", "ollama", capabilities=ModelCapabilities(images=False, pdf=False))


@given(talk=conversations())
def test_a_local_model_that_sees_nothing_can_go_on_with_any_conversation(talk: list[dict[str, Any]]) -> None:
    """Pictures that tools have returned are noted: nobody could take them out of the conversation again."""
    chat = to_chat({"messages": [*talk, {"role": "user", "content": "Go on."}]})
    assert to_ollama(chat.body, model="m", info=BLIND).body["messages"]
    for end, turn in enumerate(talk):
        if end and turn["role"] == "assistant":
            chat = to_chat({"messages": talk[:end]})
            assert to_ollama(chat.body, model="m", info=BLIND).body["messages"]


@st.composite
def hostile(draw: st.DrawFn) -> dict[str, Any]:
    """A sensible request in which one to three places hold something else."""
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    body: dict[str, Any] = copy.deepcopy(
        {
            "model": "m",
            "max_tokens": 100,
            "system": [{"type": "text", "text": "Be."}],
            "messages": draw(conversations()),
            "tools": [*TOOLS, {"type": "bash_20250124", "name": "bash"}],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            "thinking": {"type": "enabled", "budget_tokens": 2048},
            "output_config": {"effort": "low", "format": schema},
            "stop_sequences": ["END"],
            "stream": True,
        }
    )
    for _ in range(draw(st.integers(1, 3))):
        places: list[tuple[Any, Any]] = []
        _collect(body, places)
        holder, key = draw(st.sampled_from(places))
        if draw(st.booleans()) and isinstance(holder, dict):
            del holder[key]
        else:
            holder[key] = draw(JSON)
    return body


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        places.append((value, key))
        _collect(inner, places)


@given(body=st.one_of(hostile(), st.dictionaries(st.text(max_size=8), JSON, max_size=4)))
def test_whatever_a_request_holds_it_is_a_chat_or_a_400(body: dict[str, Any]) -> None:
    try:
        chat = to_chat(body)
    except BadRequest:
        return
    assert chat.body["messages"]
    assert to_chat(body) == chat


@given(talk=conversations(), model=st.sampled_from(snapshot()))
def test_local_models_are_asked_no_more_than_the_chat_says(
    talk: list[dict[str, Any]], model: ModelInfo
) -> None:
    """The chat is one that a provider takes, whatever the model can do."""
    chat = to_chat({"messages": talk, "tools": TOOLS}).body
    assume(model.capabilities.tools)
    asked = to_ollama(chat, model="m", info=model).body
    calls = [call["id"] for message in asked["messages"] for call in message.get("tool_calls", ())]
    answers = [message["tool_call_id"] for message in asked["messages"] if message["role"] == "tool"]
    used = [
        b["id"] for turn in talk for b in turn["content"] if isinstance(b, dict) and b["type"] == "tool_use"
    ]
    assert calls == answers == used
