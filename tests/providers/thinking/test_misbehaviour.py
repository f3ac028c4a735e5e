"""Whatever a chat client does to its history: never a 400, nothing out of place, and nothing lost in vain."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from .stage import MODEL, Client, said, thought, use

Json = dict[str, Any]
MODELS = [MODEL, "claude-sonnet-5-5", "claude-opus-5", "claude-haiku-4-5"]

#: An answer: texts (None: thinking) and how many calls it ends with.
ANSWERS = st.tuples(
    st.lists(st.sampled_from(["Looking. ", "\n", "Äh… <think>", None, None]), max_size=3), st.integers(0, 2)
)
QUESTIONS = st.sampled_from(["go", "more", "why?"])


def answer(plan: tuple[list[str | None], int], number: int) -> list[Json]:
    parts, calls = plan
    blocks = [
        thought(f"plan {number}.{i}") if part is None else said(part)
        for i, part in enumerate(parts)
        if part is None or part.strip()
    ]
    blocks += [use(f"toolu_{number}_{i}", path=str(i), n=1.0) for i in range(calls)]
    return blocks if calls or any(block["type"] == "text" for block in blocks) else [*blocks, said("Done.")]


def thoughtful(content: list[Json]) -> bool:
    """A turn that has thought and calls tools, the only kind that is kept."""
    return {"thinking", "tool_use"} <= {block["type"] for block in content}


async def step(client: Client, question: str, plan: tuple[list[str | None], int], number: int) -> None:
    blocks = answer(plan, number)
    pending = client.history and client.history[-1].get("tool_calls")
    await (client.results(*blocks) if pending else client.ask(question, *blocks))


def check(client: Client) -> None:
    """All thinking that was sent is thinking of this conversation, whole turns of it, in its order."""
    assert client.upstream.refused == []
    written = {
        tuple(b["id"] for b in content if b["type"] == "tool_use"): content
        for content in client.upstream.said
        if any(b["type"] == "tool_use" for b in content)
    }
    for turn in client.sent_turns:
        if any(block["type"] == "thinking" for block in turn):
            ids = tuple(block["id"] for block in turn if block["type"] == "tool_use")
            plain = [block for block in turn if block["type"] != "tool_use"]
            assert plain == [block for block in written[ids] if block["type"] != "tool_use"]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(QUESTIONS, ANSWERS), min_size=1, max_size=7), st.sampled_from(MODELS), st.booleans()
)
def test_a_client_that_only_drops_thinking_gets_all_of_it_restored(
    steps: list[tuple[str, tuple[list[str | None], int]]], model: str, stream: bool
) -> None:
    async def play() -> None:
        client = Client(model=model, stream=stream, effort="high")
        for number, (question, plan) in enumerate(steps):
            await step(client, question, plan, number)
        assert client.upstream.refused == []
        kept = [content for content in client.upstream.said if thoughtful(content)]
        if client.upstream.said[-1] in kept:
            kept.pop()  # nobody has replayed it yet
        assert [turn for turn in client.sent_turns if thoughtful(turn)] == kept

    asyncio.run(play())


def _any(history: list[Json], role: str, pick: int) -> Json | None:
    found = [message for message in history if message["role"] == role]
    return found[pick % len(found)] if found else None


def drop(client: Client, pick: int) -> None:
    if client.history:
        del client.history[pick % len(client.history)]


def drop_the_beginning(client: Client, pick: int) -> None:
    del client.history[: pick % (len(client.history) + 1)]


def drop_the_end(client: Client, pick: int) -> None:
    del client.history[len(client.history) - pick % 3 :]


def twice(client: Client, pick: int) -> None:
    if client.history:
        at = pick % len(client.history)
        client.history.insert(at, copy.deepcopy(client.history[at]))


def swap(client: Client, pick: int) -> None:
    if len(client.history) > 1:
        at = pick % (len(client.history) - 1)
        client.history[at : at + 2] = reversed(client.history[at : at + 2])


def edit_text(client: Client, pick: int) -> None:
    if (message := _any(client.history, "assistant", pick)) is not None:
        message["content"] = ["Something else.", "", None, " ", "<think>plan</think>"][pick % 5]


def edit_arguments(client: Client, pick: int) -> None:
    message = _any(client.history, "assistant", pick)
    for call in (message or {}).get("tool_calls", ()):
        call["function"]["arguments"] = ['{"path":"x"}', "", "nonsense"][pick % 3]


def drop_a_call(client: Client, pick: int) -> None:
    message = _any(client.history, "assistant", pick)
    if message is not None and message.get("tool_calls"):
        del message["tool_calls"][0]
        if not message["tool_calls"]:
            del message["tool_calls"]


def edit_result(client: Client, pick: int) -> None:
    if (message := _any(client.history, "tool", pick)) is not None:
        message["content"] = f"edited {pick}"


def edit_question(client: Client, pick: int) -> None:
    if (message := _any(client.history, "user", pick)) is not None:
        message["content"] += "!"


def reminder(client: Client, pick: int) -> None:
    client.history.insert(pick % (len(client.history) + 1), {"role": "system", "content": "Remember."})


def flatten(client: Client, pick: int) -> None:
    for message in client.history:
        if message["role"] == "assistant":
            message["reasoning_content"] = "plan"
            message["content"] = (message["content"] or "").strip()


def system(client: Client, pick: int) -> None:
    client.system += "."


def tools(client: Client, pick: int) -> None:
    client.tools = [] if pick % 3 == 0 else [*client.tools, {**copy.deepcopy(client.tools or TOOLS)[0]}]
    for index, tool in enumerate(client.tools[1:]):
        tool["function"]["name"] = f"read_{index}"


def model(client: Client, pick: int) -> None:
    client.model = MODELS[pick % len(MODELS)]


def session(client: Client, pick: int) -> None:
    client.session = ["s", "t", ""][pick % 3]


def bring(client: Client, pick: int) -> None:
    """Signed blocks that the client has kept, whether they belong there or not."""
    message = _any(client.history, "assistant", pick)
    blocks = [block for turn in client.upstream.said for block in turn if block["type"] == "thinking"]
    if message is not None and blocks:
        message["thinking_blocks"] = [blocks[pick % len(blocks)]]


TOOLS = [
    {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}
]
TRICKS: list[Callable[[Client, int], None]] = [
    *(
        drop,
        drop_the_beginning,
        drop_the_end,
        twice,
        swap,
        edit_text,
        edit_arguments,
        drop_a_call,
        edit_result,
    ),
    *(edit_question, reminder, flatten, system, tools, model, session),
]
MOVES = st.tuples(
    QUESTIONS, ANSWERS, st.lists(st.tuples(st.sampled_from(TRICKS), st.integers(0, 60)), max_size=2)
)


@settings(max_examples=200)
@given(st.lists(MOVES, min_size=2, max_size=8))
def test_no_trick_of_a_client_makes_the_api_refuse(moves: list[Any]) -> None:
    async def play() -> None:
        client = Client(effort="high")
        for number, (question, plan, tricks) in enumerate(moves):
            for trick, pick in tricks:
                trick(client, pick)
            await step(client, question, plan, number)
            check(client)

    asyncio.run(play())


@settings(max_examples=100)
@given(st.lists(MOVES, min_size=2, max_size=6), st.integers(0, 60))
def test_no_block_that_a_client_brings_makes_its_request_fail(moves: list[Any], pick: int) -> None:
    """The upstream may refuse it, but then it is asked again."""

    async def play() -> None:
        client = Client(effort="high")
        for number, (question, plan, tricks) in enumerate(moves):
            for trick, where in tricks:
                trick(client, where)
            bring(client, pick + number)
            await step(client, question, plan, number)
            refused = len(client.upstream.refused)
            history = orjson.dumps(client.history)
            if client.session and refused:
                # What was refused is not tried again behind the same prefix; the same words behind another
                # one are, once, and after a second refusal nowhere.
                for more in (1, 0):
                    client.history.pop()
                    await client.go(said("Again."))
                    assert len(client.upstream.refused) <= refused + more, history
                    refused = len(client.upstream.refused)

    asyncio.run(play())
