"""A request to Claude that names two models is refused: the gateway and Claude might read different ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.routes._repeated import refuse_repeated_model
from providers.errors import BadRequest
from providers.types import MessagesCall, Usage

from .stub import StubProvider, StubReply, front

pytestmark = pytest.mark.anyio

SPELT = [b'"model"', b'"mod\\u0065l"', b'"\\u006dodel"', b'"m\\u006F\\u0064\\u0065\\u006C"', b'"mode\\u006c"']
REST = b'"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]'


@pytest.mark.parametrize("first", SPELT)
@pytest.mark.parametrize("second", SPELT)
def test_a_second_model_is_found_however_it_is_written(first: bytes, second: bytes) -> None:
    body = b'{%s: "claude-opus-5-5", %s, %s : "claude-haiku-5-5"}' % (first, REST, second)
    with pytest.raises(BadRequest, match="more than once") as caught:
        refuse_repeated_model(body)
    assert (caught.value.status, caught.value.param) == (400, "model")


@pytest.mark.parametrize(
    "more",
    [
        b"",
        b', "metadata": {"model": "a"}, "tools": [{"model": {"model": 1}}]',
        b', "system": "model", "stop_sequences": ["model", "model"]',
        b', "system": "a \\"model\\" and \\\\\\"model\\": and mod\\u0065l"',
        b', "modeL": 1, "Model": 2, "model ": 3, "mod\\\\u0065l": 4',
        b', "model 7": "the name that is used while looking"',
    ],
)
def test_the_word_may_stand_anywhere_else(more: bytes) -> None:
    for spelt in SPELT:
        body = b'{%s: "sonnet", %s%s}' % (spelt, REST, more)
        orjson.loads(body)
        refuse_repeated_model(body)


KEYS = st.sampled_from(["model", "Model", "x", 'a"model', "a\\", "model 1"])
VALUES = st.recursive(
    st.sampled_from(["model", '"model"', '\\"model\\":', 1, None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=5), st.data())
def test_only_a_repeated_key_of_the_object_itself_is_refused(
    members: list[tuple[str, Any]], data: Any
) -> None:
    written = [
        (data.draw(st.sampled_from(SPELT)) if key == "model" else orjson.dumps(key))
        + b":"
        + orjson.dumps(value)
        for key, value in members
    ]
    body = b"{" + b",".join(written) + b"}"
    models = [key for key, _ in members].count("model")
    if models > 1:
        with pytest.raises(BadRequest):
            refuse_repeated_model(body)
    elif not any(key == "model 1" for key, _ in members):
        refuse_repeated_model(body)


class _Raw(StubReply):
    stream = False
    content_type = b"application/json"
    attempts = 1
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b'{"type": "message"}'


class _Claude(StubProvider):
    def __init__(self) -> None:
        super().__init__()
        self.passed: list[MessagesCall] = []

    async def messages(self, call: MessagesCall) -> _Raw:
        self.passed.append(call)
        reply = _Raw(call.model, {})
        reply.usage = Usage(1, 1)
        return reply


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_nothing_of_such_a_request_reaches_claude(path: str) -> None:
    claude = _Claude()
    body = b'{"model": "claude-opus-5-5", %s, "mod\\u0065l": "claude-haiku-5-5"}' % REST
    async with front(anthropic=claude) as gateway:
        answer = await gateway.post(path, body)
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert "`model`" in answer.json()["error"]["message"]
        assert (await gateway.post(path, b'{"model": "sonnet", %s}' % REST)).status == 200
    assert len(claude.passed) == 1


async def test_where_the_parsed_request_is_sent_on_there_is_nothing_to_mistake() -> None:
    local = StubProvider("ollama")
    environ = {"LOCAL_LLM_BASE_URL": "http://127.0.0.1:11434", "LOCAL_LLM_MODEL_ALLOWLIST": "qwen3:8b"}
    async with front(ollama=local, environ=environ) as gateway:
        body = b'{"model": "claude-opus-5-5", %s, "model": "local:qwen3:8b"}' % REST
        for path in ("/v1/chat/completions", "/v1/messages"):
            assert (await gateway.post(path, body)).status == 200
    assert [(call.model, call.requested_model) for call in local.calls] == [
        ("qwen3:8b", "local:qwen3:8b")
    ] * 2
