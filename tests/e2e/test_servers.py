"""The app is neutral: other ASGI servers and the stock HTTP transport give the same answers."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from .conftest import settings_for
from .gateway import KEY, Gateway, running_gateway
from .test_disconnect import ALLOWED_SECONDS, SLOW, open_chat, seconds_until_stopped
from .upstream import Upstream

FACTORY = "gw.app:from_environment"
OTHERS = {
    "uvicorn": ("uvicorn", ("--factory", FACTORY, "--port", "{port}", "--no-access-log")),
    "hypercorn": ("hypercorn", (f"{FACTORY}()", "--bind", "127.0.0.1:{port}")),
    "granian over stock httpx": ("gw", ("serve",)),
}


@pytest.fixture(scope="module", params=OTHERS)
def other(request: pytest.FixtureRequest, shared_upstream: Upstream) -> Iterator[Gateway]:
    module, command = OTHERS[request.param]
    more = {"GATEWAY_HTTP_TRANSPORT": "httpx"} if module == "gw" else {}
    with running_gateway(*command, module=module, **settings_for(shared_upstream, **more)) as running:
        yield running


def test_it_chats_and_streams(other: Gateway, upstream: Upstream) -> None:
    with openai.OpenAI(base_url=f"{other.base_url}/v1", api_key=KEY, max_retries=0) as client:
        answer = client.chat.completions.create(
            model="sonnet", messages=[{"role": "user", "content": "Hello"}]
        )
        assert "Hello" in (answer.choices[0].message.content or "")
        upstream.script({"tokens": 20, "delay_ms": 5})
        stream = client.chat.completions.create(
            model="sonnet", messages=[{"role": "user", "content": "Go"}], stream=True
        )
        assert [c.choices[0].finish_reason for c in stream][-1] == "stop"


def test_it_says_when_a_stream_breaks_off(other: Gateway, upstream: Upstream) -> None:
    upstream.script({"tokens": 20, "fault": "reset", "delay_ms": 5})
    with openai.OpenAI(base_url=f"{other.base_url}/v1", api_key=KEY, max_retries=0) as client:
        stream = client.chat.completions.create(
            model="sonnet", messages=[{"role": "user", "content": "Go"}], stream=True
        )
        with pytest.raises(openai.APIError):
            list(stream)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_upstream(other: Gateway, upstream: Upstream, stream: bool) -> None:
    import time

    upstream.script(SLOW)
    client = open_chat(other, stream=stream)
    upstream.wait_for(lambda chats: bool(chats) and chats[-1]["events_written"] > 4)
    left_at = time.time()
    client.close()
    assert seconds_until_stopped(upstream, left_at) < ALLOWED_SECONDS
