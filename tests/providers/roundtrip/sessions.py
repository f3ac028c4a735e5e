"""``python -m tests.providers.roundtrip.sessions``: requests of recorded agent sessions before the judges.

The folder is named by ``AGENT_SESSIONS``; it holds sessions of pi (``claude-session/*.jsonl``), of OpenHands
(``openhands/*.jsonl``) and of SWE-agent (``swe-agent/*.traj``), as their repositories publish them. A request
is all that an agent has had before it each time that it asked a model.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from providers.errors import ContextTooLong

from .conversations import Call, Conversation, Part, Result, Role, Text, Thinking, Tool, Turn
from .judges import Court, Refused
from .render import RENDERED
from .ten_thousand import DIALECTS, UPSTREAMS

Json = dict[str, Any]

VARIABLE = "AGENT_SESSIONS"
_ROLES: dict[str, Role] = {"agent": "assistant", "user": "user"}


def sessions(folder: Path) -> Iterator[tuple[str, Conversation]]:
    """Each recorded session under its name."""
    for file in sorted(folder.glob("claude-session/*.jsonl")):
        yield file.name, _conversation(turn for line in _lines(file) for turn in _of_pi(line))
    for file in sorted(folder.glob("openhands/*.jsonl")):
        for number, line in enumerate(_lines(file)):
            yield f"{file.name} {number}", _conversation(_of_openhands(line["history"]))
    for file in sorted(folder.glob("swe-agent/*.traj")):
        history = json.loads(file.read_text())["history"]
        yield file.name, _conversation(turn for message in history for turn in _of_swe_agent(message))


def requests(talk: Conversation) -> Iterator[Conversation]:
    """The conversation as far as it had come each time that a model was asked."""
    for index, turn in enumerate(talk.turns):
        if index and turn.role == "assistant":
            yield Conversation(talk.tools, talk.turns[:index])


def _lines(file: Path) -> Iterator[Json]:
    with file.open() as lines:
        yield from map(json.loads, lines)


def _conversation(turns: Iterator[Turn]) -> Conversation:
    told = tuple(turns)
    called = [part.tool for turn in told for part in turn.parts if isinstance(part, Call)]
    return Conversation(tuple(dict.fromkeys(called)), told)


def _of_pi(line: Json) -> Iterator[Turn]:
    message = line.get("message")
    if message is None:
        return
    parts: list[Part] = []
    for part in message["content"]:
        match part["type"]:
            case "text":
                parts.append(Text(part["text"]))
            case "thinking":
                parts.append(Thinking(part["thinking"]))
            case "toolCall":
                parts.append(Call(part["id"], Tool(part["name"]), json.dumps(part["arguments"])))
    if message["role"] == "toolResult":
        texts = tuple(part for part in parts if isinstance(part, Text))
        yield Turn("tool", (Result(message["toolCallId"], texts, message["isError"]),))
    elif parts:
        yield Turn(message["role"], tuple(parts))


def _of_openhands(history: list[Json]) -> Iterator[Turn]:
    for event in history:
        asked = event.get("tool_call_metadata")
        if asked is None:
            if event.get("action") in ("system", "message"):
                role: Role = "system" if event["action"] == "system" else _ROLES[event["source"]]
                yield Turn(role, _text(event["message"]))
        elif "observation" in event:
            yield Turn("tool", (Result(asked["tool_call_id"], _text(event["content"])),))
        else:
            yield _said_by_agent(asked["model_response"]["choices"][0]["message"])


def _of_swe_agent(message: Json) -> Iterator[Turn]:
    role = message["role"]
    if role == "assistant":
        yield _said_by_agent(message)
    elif role == "tool":
        yield from (
            Turn("tool", (Result(one, _text(message["content"])),)) for one in message["tool_call_ids"]
        )
    else:
        yield Turn(role, _text(message["content"]))


def _said_by_agent(message: Json) -> Turn:
    calls = [
        Call(call["id"], Tool(call["function"]["name"]), call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    ]
    return Turn("assistant", (*_text(message.get("content") or ""), *calls))


def _text(text: str) -> tuple[Text, ...]:
    return (Text(text),) if text else ()


async def judge(dialect: str, upstream: str, talks: list[Conversation]) -> tuple[int, int]:
    """``(accepted, too long for the model)``. Raises :class:`.judges.Refused` for any other refusal."""
    court = Court(upstream)
    long = 0
    try:
        for talk in talks:
            try:
                await court.hear(dialect, RENDERED[dialect](talk))
            except Refused as refused:
                if not isinstance(refused.__cause__, ContextTooLong):
                    raise
                long += 1
    finally:
        await court.aclose()
    return len(talks) - long, long


async def main(folder: Path) -> None:
    asked = []
    for name, talk in sessions(folder):
        asked.append(found := list(requests(talk)))
        print(f"{name}: {len(found)} requests")
    talks = [talk for found in asked for talk in found]
    print(f"{len(asked)} sessions, {len(talks)} requests")
    for dialect, upstream in product(DIALECTS, UPSTREAMS):
        if (dialect, upstream) == ("messages", "anthropic"):
            continue  # passed on as it is: calls that an agent broke off are for its own client to answer
        start = time.perf_counter()
        accepted, long = await judge(dialect, upstream, talks)
        seconds = time.perf_counter() - start
        print(f"| {dialect} | {upstream} | {accepted} | {long} | {seconds:.1f} s |", flush=True)


if __name__ == "__main__":
    if not (named := os.environ.get(VARIABLE)):
        sys.exit(f"skipped: {VARIABLE} names no folder of sessions")
    asyncio.run(main(Path(named)))
