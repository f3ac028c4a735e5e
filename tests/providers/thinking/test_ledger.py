"""What Claude has thought comes back to it, whatever a chat client makes of it."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from providers.thinking.stores import MemoryStore
from providers.types import ChatCall

from .stage import MODEL, Client, said, thought, use

pytestmark = pytest.mark.anyio


def kinds(turn: list[dict[str, Any]]) -> list[str]:
    return [block["type"] for block in turn]


async def loop(client: Client, steps: int = 3) -> None:
    """A question and ``steps`` tool turns, each with thinking; the results of the last one are sent."""
    await client.ask("go", thought("plan 0"), said("Looking."), use("toolu_0", path="a"))
    for step in range(1, steps):
        await client.results(thought(f"plan {step}"), use(f"toolu_{step}", path=str(step)))
    await client.results(said("Done."))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_drops_thinking_loses_none_of_it(stream: bool) -> None:
    client = Client(stream=stream)
    await loop(client)
    assert client.upstream.refused == []
    assert client.sent_turns == client.upstream.said[:3]  # byte for byte what the model wrote, in order


async def test_redacted_and_interleaved_blocks_come_back_in_their_order() -> None:
    client = Client()
    written = [
        thought("a"),
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
        said("First. "),
        thought("b"),
        said("Then."),
        use("toolu_1", x=1),
        use("toolu_2", y=[1, {"z": None}]),
    ]
    await client.ask("go", *written)
    await client.results()
    assert client.sent_turns == client.upstream.said[:1]


async def test_thinking_without_its_text_is_kept_too() -> None:
    """``display: omitted`` gives blocks that are empty but for the signature."""
    client = Client()
    await client.ask("go", thought(""), use("toolu_1"))
    await client.results()
    assert client.sent_turns == client.upstream.said[:1]


REPLAYS = {
    "reasoning_content": lambda m: {**m, "reasoning_content": "plan"},
    "content is null": lambda m: {**m, "content": None},
    "content is left out": lambda m: {k: v for k, v in m.items() if k != "content"},
    "text is trimmed": lambda m: {**m, "content": (m["content"] or "").strip()},
    "text has a line break behind it": lambda m: {**m, "content": f"{m['content']}\n"},
    "thinking is in the text": lambda m: {**m, "content": f"<think>plan</think>\n\n{m['content']}"},
    "unsigned parts": lambda m: {
        **m,
        "content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": m["content"] or "."}]
        if m["content"]
        else [{"type": "thinking", "thinking": "x", "signature": ""}],
    },
    "arguments are written anew": lambda m: {
        **m,
        "tool_calls": [
            {**c, "function": {**c["function"], "arguments": reordered(c["function"]["arguments"])}}
            for c in m["tool_calls"]
        ],
    },
}


def reordered(arguments: str) -> str:
    given = orjson.loads(arguments)
    return orjson.dumps(dict(reversed(given.items())), option=orjson.OPT_INDENT_2).decode()


@pytest.mark.parametrize("name", REPLAYS)
async def test_what_a_client_makes_of_a_turn_does_not_lose_its_thinking(name: str) -> None:
    client = Client()
    await client.ask("go", thought("plan"), said(" Looking.\n"), use("toolu_1", b=1.0, a="ä"))
    client.history[-1] = REPLAYS[name](client.history[-1])
    await client.results(thought("more"), use("toolu_2"))
    client.history[-1] = REPLAYS[name](client.history[-1])
    await client.results()
    assert client.upstream.refused == []
    for sent, written in zip(client.sent_turns, client.upstream.said, strict=False):
        assert [b for b in sent if b["type"] != "tool_use"] == [b for b in written if b["type"] != "tool_use"]
        assert kinds(sent) == kinds(written)


async def test_a_turn_without_thinking_is_no_gap() -> None:
    client = Client()
    await client.ask("go", thought("a"), use("toolu_1"))
    await client.results(use("toolu_2"))  # adaptive: nothing to think about
    await client.results(thought("c"), use("toolu_3"))
    await client.results()
    assert client.sent_turns == client.upstream.said[:3]


async def test_a_later_question_keeps_what_was_thought_before_it() -> None:
    client = Client()
    await loop(client, 2)
    await client.ask("and now?", thought("hm"), said("Well."))  # no tool call: nothing it could be kept under
    await client.ask("again", thought("again"), use("toolu_9"))
    await client.results()
    sent = client.sent_turns
    assert sent[:2] == client.upstream.said[:2]
    assert kinds(sent[3]) == ["text"]
    assert sent[-1] == client.upstream.said[4]
    assert client.upstream.refused == []


async def test_edited_text_is_a_gap_and_what_follows_it_is_left_out() -> None:
    client = Client()
    await loop(client)
    edited = copy.deepcopy(client.history)
    edited[1]["content"] = "Something else."
    client.history = edited
    await client.ask("go on")
    assert [kinds(turn) for turn in client.sent_turns[:3]] == [
        ["text", "tool_use"],
        ["tool_use"],
        ["tool_use"],
    ]
    assert client.upstream.refused == []


async def test_edited_arguments_are_a_gap() -> None:
    client = Client()
    await loop(client)
    client.history[1]["tool_calls"][0]["function"]["arguments"] = '{"path":"b"}'
    await client.ask("go on")
    assert not any("thinking" in kinds(turn) for turn in client.sent_turns)
    assert client.upstream.refused == []


async def test_an_edited_result_keeps_what_was_thought_before_it() -> None:
    client = Client()
    await loop(client)
    client.history[4]["content"] = "another result"  # of the second call
    await client.ask("go on")
    assert ["thinking" in kinds(turn) for turn in client.sent_turns] == [True, True, False, False]
    assert client.upstream.refused == []


async def test_after_a_gap_new_thinking_is_kept_again() -> None:
    client = Client()
    await loop(client)
    client.history[1]["content"] = "Something else."
    await client.ask("go on", thought("new"), use("toolu_9"))
    await client.results(thought("newer"), use("toolu_10"))
    await client.results()
    assert ["thinking" in kinds(turn) for turn in client.sent_turns] == [False] * 4 + [True, True]
    assert client.sent_turns[-2:] == client.upstream.said[-3:-1]
    assert client.upstream.refused == []


@pytest.mark.parametrize("change", ["system", "tools"])
async def test_a_changed_prefix_leaves_all_thinking_out(change: str) -> None:
    client = Client()
    await loop(client)
    if change == "system":
        client.system += " Be brief."
    else:
        client.tools[0]["function"]["description"] = "Reads."
    await client.ask("go on")
    assert not any("thinking" in kinds(turn) for turn in client.sent_turns)
    assert client.upstream.refused == []


async def test_markers_of_the_cache_may_wander() -> None:
    client = Client()
    await client.ask("go", thought("plan"), said("Looking."), use("toolu_1"))
    mark = {"cache_control": {"type": "ephemeral"}}
    client.history[0].update(mark)
    client.history[1]["content"] = [{"type": "text", "text": "Looking.", **mark}]
    client.history[1]["tool_calls"][0].update(mark)
    await client.results()
    thinking, text, call = client.sent_turns[0]
    assert "cache_control" not in thinking
    assert text["cache_control"] == call["cache_control"] == mark["cache_control"]
    assert thinking == client.upstream.said[0][0]


async def test_a_model_never_gets_the_thinking_of_another() -> None:
    client = Client()
    await loop(client)
    client.model = "claude-sonnet-5-5"
    await client.ask("go on", thought("mine"), use("toolu_7"))
    await client.results()
    assert ["thinking" in kinds(turn) for turn in client.sent_turns] == [False] * 4 + [True]
    client.model = MODEL
    await client.ask("back")
    assert ["thinking" in kinds(turn) for turn in client.sent_turns] == [True] * 3 + [False] * 3
    assert client.upstream.refused == []


async def test_another_session_gets_nothing() -> None:
    client = Client()
    await loop(client)
    client.session = "of somebody else"
    await client.ask("go on")
    assert not any("thinking" in kinds(turn) for turn in client.sent_turns)


async def test_without_a_session_nothing_is_kept() -> None:
    store = MemoryStore()
    client = Client(session="", store=store)
    await loop(client)
    assert len(store) == 0
    assert client.upstream.refused == []


async def test_compaction_leaves_out_what_was_bound_to_the_old_beginning() -> None:
    client = Client()
    await loop(client)
    client.history = [{"role": "user", "content": "Summary of all that."}, *client.history[3:]]
    await client.ask("go on", thought("fresh"), use("toolu_8"))
    await client.results()
    assert ["thinking" in kinds(turn) for turn in client.sent_turns] == [False] * 3 + [True]
    assert client.upstream.refused == []


async def test_a_budget_stays_on_in_a_loop_whose_thinking_is_known() -> None:
    client = Client(model="claude-haiku-4-5", effort="high")
    await loop(client)
    assert all(request["thinking"]["type"] == "enabled" for request in client.upstream.sent)
    client.session = "forgotten"
    client.history.pop()
    await client.go()
    assert "thinking" not in client.upstream.sent[-1]
    assert client.upstream.refused == []


async def test_an_answer_whose_client_left_at_its_end_is_kept() -> None:
    client = Client()
    client.history.append({"role": "user", "content": "go"})
    client.upstream.script = [[thought("plan"), use("toolu_1")]]
    body = {"messages": client.history, "tools": client.tools, "stream": True}
    reply = await client.provider.chat(ChatCall(body, MODEL, MODEL, session=lambda: "s"))
    seen = b""
    async for piece in reply.sse():
        seen += piece
        if b'"finish_reason":"tool_calls"' in piece:
            break
    await reply.aclose()
    assert isinstance(client.store, MemoryStore)
    assert len(client.store) == 1


async def test_a_stream_that_breaks_off_keeps_nothing() -> None:
    client = Client()
    client.upstream.script = [[thought("plan"), use("toolu_1")]]
    body = {"messages": [{"role": "user", "content": "go"}], "tools": client.tools, "stream": True}
    reply = await client.provider.chat(ChatCall(body, MODEL, MODEL, session=lambda: "s"))
    async for piece in reply.sse():
        if b"toolu_1" in piece:
            break
    await reply.aclose()
    assert isinstance(client.store, MemoryStore)
    assert len(client.store) == 0
