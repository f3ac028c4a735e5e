"""Thinking that the upstream will not have back: the caller never sees that, and it is not tried again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from providers.errors import BadRequest
from providers.thinking.stores import MemoryStore
from tests.providers.anthropic.sources import Scripted

from .stage import Client, Upstream, said, thought, use

pytestmark = pytest.mark.anyio
Json = dict[str, Any]


class Carrying(Client):
    """A client that keeps the signed blocks itself, as callers of the Responses API do."""

    async def go(self, *answer: Json) -> Json:
        message = await super().go(*answer)
        calls = message.pop("tool_calls", [])
        message["content"] = self.upstream.said[-1]
        if calls:  # so that `results` finds them
            message["tool_calls"] = []
            self.calls = [call["id"] for call in calls]
        return message

    async def results(self, *answer: Json, text: str = "ok") -> Json:
        for call_id in self.calls:
            self.history.append({"role": "tool", "tool_call_id": call_id, "content": text})
        return await self.go(*answer)


def thinking(client: Client) -> list[bool]:
    return [any(block["type"] == "thinking" for block in turn) for turn in client.sent_turns]


async def carried() -> Carrying:
    client = Carrying()
    await client.ask("go", thought("a"), said("Looking."), use("toolu_1"))
    await client.results(thought("b"), said("Found."))
    await client.ask("more", thought("c"), use("toolu_2"))
    await client.results(thought("d"), said("Done."))
    return client


async def test_blocks_that_the_caller_brings_are_sent_as_they_are() -> None:
    client = await carried()
    await client.ask("on")
    assert client.upstream.refused == []
    assert client.sent_turns == client.upstream.said[:4]


async def test_blocks_beside_the_content_are_sent_before_it() -> None:
    client = Client()
    await client.ask("go", thought("a"), said("Looking."), use("toolu_1"))
    client.history[-1]["thinking_blocks"] = client.upstream.said[0][:1]
    client.session = "lost"
    await client.results()
    assert client.upstream.refused == []
    assert client.sent_turns == client.upstream.said[:1]


async def test_the_callers_blocks_are_left_out_where_they_are_known_not_to_fit() -> None:
    client = await carried()
    client.system = "You are another."
    await client.ask("on", thought("new"), use("toolu_3"))
    # The first turn is known to have been written under another system prompt; what follows was bound to it.
    assert client.upstream.refused == []
    assert thinking(client) == [False] * 4
    await client.results()
    assert thinking(client) == [False] * 4 + [True]
    assert client.upstream.refused == []


async def test_a_refusal_is_asked_again_without_thinking_once_and_then_remembered() -> None:
    client = await carried()
    client.store = MemoryStore()  # a gateway that knows nothing of this conversation
    client.__post_init__()
    client.system = "You are another."
    await client.ask("on", thought("new"), use("toolu_3"))
    assert len(client.upstream.refused) == 1
    assert "bound to a different conversation" in client.upstream.refused[0]
    assert thinking(client) == [False] * 4
    await client.results(thought("newer"), use("toolu_4"))
    await client.results()
    assert len(client.upstream.refused) == 1
    assert thinking(client) == [False] * 4 + [True, True]


async def test_a_refusal_of_thinking_before_the_first_call_is_remembered_too() -> None:
    client = Carrying(tools=[])
    await client.ask("go", thought("a"), said("Well."))
    client.system = "You are another."
    await client.ask("on")
    await client.ask("and on")
    assert len(client.upstream.refused) == 1
    assert thinking(client)[0] is False


async def test_one_request_that_differs_does_not_cost_the_conversation_its_thinking() -> None:
    client = Carrying()
    await client.ask("go", thought("a"), said("Well."))  # no call: the ledger learns of it by the refusal
    await client.ask("more", thought("b"), use("toolu_1"))
    await client.results(thought("c"), said("Done."))
    first, client.system = client.system, "You are an agent. You must call a tool."
    await client.ask("on", said("No."))
    assert len(client.upstream.refused) == 1
    assert thinking(client) == [False] * 3
    client.system = first
    await client.ask("and on", said("Yes."))
    assert len(client.upstream.refused) == 1
    assert thinking(client) == [True] * 3 + [False]


async def test_what_was_refused_twice_is_not_tried_behind_a_third_prefix() -> None:
    client = Carrying(tools=[])
    await client.ask("go", thought("a"), said("Well."))
    for number in range(5):  # a system prompt with the time of day
        client.system = f"It is {number} o'clock."
        await client.ask("on", said("Well."))
        assert thinking(client)[0] is False
    assert len(client.upstream.refused) == 2


async def test_a_forged_signature_is_no_400_for_the_caller() -> None:
    client = Carrying()
    await client.ask("go", thought("a"), use("toolu_1"))
    client.history[-1]["content"] = [{**client.upstream.said[0][0], "signature": "Zm9yZ2Vk"}, use("toolu_1")]
    client.session = "lost"
    await client.results()
    assert len(client.upstream.refused) == 1
    assert thinking(client) == [False]


async def test_what_the_ledger_restored_is_forgotten_when_it_is_refused() -> None:
    client = Client()
    await client.ask("go", thought("a"), use("toolu_1"))
    good = client.upstream.request

    async def strange(*args: Any, **kwargs: Any) -> Scripted:
        """An upstream that refuses all replayed thinking."""
        if b'"signature"' in kwargs["body"]:
            client.upstream.refused.append("x")
            said = "messages.1.content.0: Invalid `signature` in `thinking` block"
            return Scripted(
                orjson.dumps({"error": {"type": "invalid_request_error", "message": said}}), status=400
            )
        return await good(*args, **kwargs)

    client.upstream.request = strange  # type: ignore[method-assign]
    await client.results(thought("b"), use("toolu_2"))
    assert len(client.upstream.refused) == 1
    client.upstream.request = good  # type: ignore[method-assign]
    await client.results()
    assert len(client.upstream.refused) == 1
    assert thinking(client) == [False, True]  # what was written since is kept as ever


class Refusing(Upstream):
    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message
        self.asked = 0

    async def request(self, *args: Any, **kwargs: Any) -> Scripted:
        self.asked += 1
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": self.message}}
        return Scripted(orjson.dumps(error), status=400)


BROUGHT = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "a", "signature": "eA=="},
        {"type": "text", "text": "Well."},
    ],
}


@pytest.mark.parametrize(
    ("message", "history", "asked"),
    [
        ("messages.1.content.0: `thinking` block is bound to a different conversation", [BROUGHT], 2),
        ("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024", [BROUGHT], 1),
        ("messages.1.content.0: Invalid `signature` in `thinking` block", [], 1),
        ("messages: too many", [BROUGHT], 1),
    ],
)
async def test_only_a_refusal_of_thinking_is_asked_again_and_only_once(
    message: str, history: list[Json], asked: int
) -> None:
    upstream = Refusing(message)
    client = Client(upstream, tools=[])
    client.history = [{"role": "user", "content": "go"}, *history]
    with pytest.raises(BadRequest, match=message.split(":")[0]):
        await client.ask("on")
    assert upstream.asked == asked
