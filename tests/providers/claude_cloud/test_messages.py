"""Anthropic's own dialect where a cloud serves Claude: what arrives there, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import orjson
import pytest

from perf.simulated import Scenario, SimulatedUpstream
from providers.base import SpeaksMessages
from providers.claude_cloud.adapter import ClaudeCloudProvider, bedrock, vertex
from providers.errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    Overloaded,
    ProtocolError,
    ProviderError,
    RateLimited,
)
from providers.http import open_client
from providers.http.types import HttpClient, Timeouts
from providers.types import MessagesCall

pytestmark = pytest.mark.anyio

TIMEOUTS = Timeouts(connect=2, first_byte=2, idle=2, total=10)
MODELS = {"bedrock": "anthropic.claude-opus-5", "vertex": "claude-opus-5"}
PATHS = {
    "bedrock": "/anthropic/v1/messages",
    "vertex": "/v1/projects/p/locations/eu/publishers/anthropic/models/claude-opus-5:streamRawPredict",
}
BODY: dict[str, Any] = {
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Grüße, \U0001f600"}],
    "metadata": {"user_id": "u"},
}


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = open_client("engine")
    yield client
    await client.aclose()


@pytest.fixture
async def sim() -> AsyncIterator[SimulatedUpstream]:
    async with SimulatedUpstream() as upstream:
        yield upstream


Cloud = Callable[[str], ClaudeCloudProvider]


@pytest.fixture
def cloud(client: HttpClient, sim: SimulatedUpstream) -> Cloud:
    def make(name: str) -> ClaudeCloudProvider:
        if name == "bedrock":
            url = f"{sim.base_url}/anthropic"
            sdk = bedrock(client, region="eu-north-1", timeouts=TIMEOUTS, base_url=url, api_key="canary")
        else:
            url = f"{sim.base_url}/v1"
            sdk = vertex(
                client,
                project="p",
                region="eu",
                timeouts=TIMEOUTS,
                base_url=url,
                access_token="canary",
            )
        return ClaudeCloudProvider(sdk, name=name)

    return make


def call(name: str, *headers: tuple[bytes, bytes], query: bytes = b"", **body: Any) -> MessagesCall:
    whole = {"model": MODELS[name], **BODY, **body}
    return MessagesCall(orjson.dumps(whole), MODELS[name], headers, query)


@pytest.mark.parametrize("name", MODELS)
async def test_all_that_the_body_says_arrives_and_all_bytes_come_back(
    cloud: Cloud, client: HttpClient, sim: SimulatedUpstream, name: str
) -> None:
    provider = cloud(name)
    assert isinstance(provider, SpeaksMessages)
    assert {"messages", "signed_thinking"} <= provider.features
    scenario = Scenario(path=PATHS[name], text="from the cloud", split=7)
    sim.script(scenario, scenario)
    headers = (
        (b"anthropic-beta", b"context-management-2025-06-27"),
        (b"anthropic-beta", b"effort-2025-11-24"),
        (b"anthropic-version", b"2023-06-01"),
        (b"authorization", b"Bearer caller-canary"),
        (b"user-agent", b"caller-canary"),
        (b"x-claude-code-session-id", b"caller-canary"),
    )
    management = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    asked = call(
        name, *headers, query=b"beta=true", stream=True, context_management=management, temperature=1.0
    )
    reply = await provider.messages(asked)
    data = b"".join([piece async for piece in reply.chunks()])
    again = [(key.encode(), value.encode()) for key, value in sim.requests[0].raw_headers.items()]
    kept = [header for header in again if header[0] not in (b"host", b"content-length", b"connection")]
    url = sim.base_url + sim.requests[0].path
    direct = await client.request("POST", url, headers=kept, body=sim.requests[0].raw)
    assert data == await direct.read()
    assert data.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert reply.stream
    assert reply.usage.output_tokens > 0
    assert reply.upstream_request_id
    received = sim.requests[0]
    sent, own = received.body, received.raw_headers
    assert sent.pop("anthropic_version", own.get("anthropic-version")) == "2023-06-01"
    assert sent == {
        **({"model": MODELS[name]} if name == "bedrock" else {}),
        **BODY,
        "stream": True,
        "context_management": management,
        "temperature": 1.0,
    }
    assert own["anthropic-beta"] == "context-management-2025-06-27,effort-2025-11-24"
    assert own["accept-encoding"] == "identity"
    assert "caller-canary" not in str(own)


@pytest.mark.parametrize("name", MODELS)
async def test_a_whole_answer_is_one_message(cloud: Cloud, name: str) -> None:
    reply = await cloud(name).messages(call(name))
    message = orjson.loads(b"".join([piece async for piece in reply.chunks()]))
    assert message["type"] == "message"
    assert not reply.stream
    assert reply.usage.output_tokens == message["usage"]["output_tokens"]


@pytest.mark.parametrize("name", MODELS)
async def test_the_cloud_counts_tokens(cloud: Cloud, sim: SimulatedUpstream, name: str) -> None:
    body = orjson.dumps({"model": MODELS[name], "messages": BODY["messages"]})
    for query in (b"", b"beta=true"):
        counting = MessagesCall(body, MODELS[name], (), query, "count_tokens")
        reply = await cloud(name).messages(counting)
        counted = orjson.loads(b"".join([piece async for piece in reply.chunks()]))
        assert counted["input_tokens"] > 0
        assert reply.usage.input_tokens == 0
    assert "count" in sim.requests[-1].path


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ({"status": 400, "message": "prompt is too long: 5 tokens > 4 maximum"}, ContextTooLong),
        ({"status": 401}, AuthFailed),
        ({"status": 429, "retry_after": 7}, RateLimited),
        ({"status": 529}, Overloaded),
        ({"fault": "error", "after": 0}, Overloaded),
        ({"fault": "truncate"}, ProtocolError),
        ({"fault": "cut"}, ProtocolError),
        ({"fault": "reset"}, ProtocolError),
    ],
    ids=str,
)
async def test_every_fault_is_its_error(
    cloud: Cloud,
    sim: SimulatedUpstream,
    name: str,
    scenario: dict[str, Any],
    expected: type[ProviderError],
) -> None:
    limits = {"anthropic-ratelimit-requests-remaining": "0", "set-cookie": "canary"}
    sim.script(Scenario(path=PATHS[name], headers=limits, **scenario))
    with pytest.raises(expected) as failure:
        await _read(cloud(name), call(name, stream=True))
    error = failure.value
    assert error.provider == name
    assert "canary" not in str(error)
    if expected in (RateLimited, ContextTooLong):
        assert error.upstream_headers[-1] == (b"anthropic-ratelimit-requests-remaining", b"0")
        assert error.upstream_error is not None
        assert error.upstream_error["message"] == error.message


@pytest.mark.parametrize("name", MODELS)
async def test_a_thread_is_refused_here_as_the_clouds_have_none(
    cloud: Cloud, sim: SimulatedUpstream, name: str
) -> None:
    with pytest.raises(BadRequest, match="thread"):
        await _read(cloud(name), call(name, thread={"type": "create"}))
    assert len(sim.requests) == 0


async def _read(provider: ClaudeCloudProvider, asked: MessagesCall) -> None:
    reply = await provider.messages(asked)
    async for _ in reply.chunks():
        pass


@pytest.mark.parametrize("name", MODELS)
async def test_a_reader_that_leaves_stops_the_upstream(
    cloud: Cloud, sim: SimulatedUpstream, name: str
) -> None:
    sim.script(Scenario(path=PATHS[name], tokens=400, delay_ms=20))
    reply = await cloud(name).messages(call(name, stream=True))
    pieces = reply.chunks()
    await anext(pieces)
    await reply.aclose()
    while sim.connections:  # until the suite's own time-out
        await anyio.sleep(0.005)
    assert sim.requests[-1].closed_by_client_at is not None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1"])
async def test_a_body_that_is_no_object_never_reaches_the_cloud(
    cloud: Cloud, sim: SimulatedUpstream, body: bytes
) -> None:
    with pytest.raises(ProviderError) as failure:
        await cloud("bedrock").messages(MessagesCall(body, MODELS["bedrock"]))
    assert failure.value.status == 400
    assert not sim.requests
