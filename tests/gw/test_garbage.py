"""A request leaves nothing behind that only the garbage collector would find: its pauses are the p99."""

from __future__ import annotations

import gc

import pytest

from .stub import StubProvider, front

pytestmark = pytest.mark.anyio

CHAT = {"model": "sonnet", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/messages", {**CHAT, "max_tokens": 9}),
        ("/v1/responses", {"model": "sonnet", "input": "Hi"}),
        ("/v1/chat/completions", {"model": "sonnet"}),
        ("/v1/nothing", {}),
    ],
)
async def test_a_request_leaves_no_cycles(path: str, body: object) -> None:
    async with front(anthropic=StubProvider()) as gateway:
        for _ in range(3):  # what is made once
            await gateway.post(path, body)
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await gateway.post(path, body)
            found = gc.collect()
        finally:
            gc.enable()
    assert found == 0
