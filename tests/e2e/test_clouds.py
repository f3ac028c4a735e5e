"""Claude on Bedrock and Vertex AI through a real Granian, with OpenAI's own SDK in front."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from .conftest import settings_for
from .gateway import KEY, Gateway, running_gateway
from .upstream import Upstream


@pytest.fixture(scope="module")
def clouds(shared_upstream: Upstream) -> Iterator[Gateway]:
    settings = settings_for(shared_upstream) | {
        "BEDROCK_REGION": "eu-north-1",
        "BEDROCK_API_KEY": "bedrock-secret",
        "BEDROCK_BASE_URL": f"{shared_upstream.base_url}/anthropic",
        "BEDROCK_MODELS": "anthropic.claude-opus-5",
        "VERTEX_PROJECT_ID": "a-project",
        "VERTEX_BASE_URL": f"{shared_upstream.base_url}/v1",
    }
    with running_gateway(**settings) as gateway:
        yield gateway


@pytest.fixture
def client(clouds: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{clouds.base_url}/v1", api_key=KEY, max_retries=0, timeout=30) as sdk:
        yield sdk


def test_bedrock_streams_to_the_openai_sdk(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.script({"path": "/anthropic/v1/messages", "text": "from the cloud"})
    with client.chat.completions.with_streaming_response.create(
        model="bedrock:anthropic.claude-opus-5",
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
    ) as response:
        assert response.headers["x-provider"] == "bedrock"
        text = "".join(chunk.choices[0].delta.content or "" for chunk in response.parse())
    assert text == "from the cloud"


def test_a_model_outside_the_clouds_allow_list_is_refused_with_the_list(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"allow-list: anthropic\.claude-opus-5\."):
        client.chat.completions.create(
            model="bedrock:anthropic.claude-haiku-4-5", messages=[{"role": "user", "content": "hi"}]
        )


def test_a_cloud_without_credentials_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match=r"vertex: .*credentials") as caught:
        client.chat.completions.create(
            model="vertex:claude-opus-5", messages=[{"role": "user", "content": "hi"}]
        )
    assert caught.value.status_code == 500


def test_the_models_of_the_clouds_are_listed(client: openai.OpenAI, clouds: Gateway) -> None:
    names = {model.id for model in client.models.list()}
    assert "bedrock:anthropic.claude-opus-5" in names
    assert "vertex:claude-opus-5" in names
    assert "vertex       a-project, global" in clouds.log
    assert "bedrock-secret" not in clouds.log


@pytest.mark.parametrize("stream", [False, True])
def test_bedrock_answers_in_anthropics_own_dialect(clouds: Gateway, upstream: Upstream, stream: bool) -> None:
    upstream.script({"path": "/anthropic/v1/messages", "text": "from the cloud"})
    asked: Any = {
        "model": "bedrock:anthropic.claude-opus-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "hi"}],
    }
    with anthropic.Anthropic(base_url=clouds.base_url, api_key=KEY, max_retries=0) as sdk:
        if stream:
            with sdk.messages.stream(**asked) as events:
                answer = events.get_final_message()
        else:
            answer = sdk.messages.create(**asked)
        counted = sdk.messages.count_tokens(model=asked["model"], messages=asked["messages"])
    assert [block.text for block in answer.content if block.type == "text"] == ["from the cloud"]
    assert counted.input_tokens == answer.usage.input_tokens
    assert [entry["body"]["model"] for entry in upstream.requests] == ["anthropic.claude-opus-5"] * 2
    assert clouds.metric("gateway_tokens_total", provider="bedrock", direction="output") > 0
