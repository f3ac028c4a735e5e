"""A chat client's conversation with Claude, over an upstream in this process that is as strict as the API."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from perf.simulated import check
from providers.anthropic.adapter import AnthropicProvider
from providers.http.types import Header, Timeouts
from providers.simulated.events import events, sse
from providers.simulated.prefix import sign
from providers.simulated.replies import Plan, Planner
from providers.thinking.stores import MemoryStore, ThinkingStore
from providers.types import ChatCall, NewWriter
from tests.providers.anthropic.sources import Scripted

#: Binds thinking to the exact prefix.
MODEL = "claude-opus-5-5"
TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}
Json = dict[str, Any]


def thought(text: str) -> Json:
    """The upstream signs it."""
    return {"type": "thinking", "thinking": text}


def said(text: str) -> Json:
    return {"type": "text", "text": text}


def use(call_id: str, name: str = "read", **given: Any) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


class Upstream:
    """An HTTP client whose other side is the strict API. ``sent`` are the requests, ``refused`` the
    refusals, ``said`` the content of each answer as the API wrote it."""

    def __init__(self) -> None:
        self.sent: list[Json] = []
        self.refused: list[str] = []
        self.said: list[list[Json]] = []
        #: The next answers.
        self.script: list[Sequence[Json]] = []
        self._planner = Planner()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> Scripted:
        request = orjson.loads(body)
        names = {name.decode(): value.decode() for name, value in headers}
        refusal = check(request, names)
        if refusal is not None:
            self.refused.append(refusal.message)
            error = {"type": "error", "error": {"type": refusal.type, "message": refusal.message}}
            return Scripted(orjson.dumps(error), status=refusal.status)
        self.sent.append(request)
        plan = self._plan(request, self.script.pop(0) if self.script else [said("Done.")])
        self.said.append([dict(block) for block in plan.content])
        return Scripted(*[sse(event) for event in events(plan)])

    def _plan(self, request: Json, blocks: Sequence[Json]) -> Plan:
        signed = [
            {**block, "signature": sign(request, request["messages"], block["thinking"])}
            if block["type"] == "thinking" and "signature" not in block
            else block
            for block in blocks
        ]
        called = any(block["type"] == "tool_use" for block in signed)
        return self._planner.finish(request, signed, "tool_use" if called else "end_turn")

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class Client:
    """A chat client that keeps its history as chat messages, and its session."""

    upstream: Upstream = field(default_factory=Upstream)
    store: ThinkingStore = field(default_factory=MemoryStore)
    model: str = MODEL
    session: str = "s"
    stream: bool = True
    tools: list[Json] = field(default_factory=lambda: [copy.deepcopy(TOOL)])
    effort: str | None = None
    system: str = "You are an agent."
    history: list[Json] = field(default_factory=list)
    writer: NewWriter | None = None

    def __post_init__(self) -> None:
        self.provider = AnthropicProvider(self.upstream, api_key="k", thinking_store=self.store)

    async def ask(self, text: str, *answer: Json) -> Json:
        """Say ``text``; the upstream answers with these blocks. The message that came joins the history."""
        self.history.append({"role": "user", "content": text})
        return await self.go(*answer)

    async def results(self, *answer: Json, text: str = "ok") -> Json:
        """Send the results of all calls of the last message."""
        for call in self.history[-1]["tool_calls"]:
            self.history.append({"role": "tool", "tool_call_id": call["id"], "content": text})
        return await self.go(*answer)

    async def go(self, *answer: Json) -> Json:
        if answer:
            self.upstream.script = [answer]
        body: Json = {
            "messages": [{"role": "system", "content": self.system}, *self.history],
            "max_tokens": 32_000,
            "stream": self.stream,
        }
        if self.tools:
            body["tools"] = self.tools
        if self.effort is not None:
            body["reasoning_effort"] = self.effort
        before = orjson.dumps(body)
        call = ChatCall(body, self.model, self.model, writer=self.writer, session=lambda: self.session)
        reply = await self.provider.chat(call)
        message = await _message(reply, self.stream)
        assert orjson.dumps(body) == before, "the caller's body was changed"
        self.history.append(message)
        return message

    @property
    def sent_turns(self) -> list[list[Json]]:
        """The assistant turns of the last request, as the upstream got them."""
        return [turn["content"] for turn in self.upstream.sent[-1]["messages"] if turn["role"] == "assistant"]


async def _message(reply: Any, streaming: bool) -> Json:
    """The assistant message of an answer, as a client without a place for thinking keeps it."""
    if not streaming:
        found = (await reply.completion())["choices"][0]["message"]
        return {
            "role": "assistant",
            "content": found["content"],
            **({"tool_calls": found["tool_calls"]} if found.get("tool_calls") else {}),
        }
    text, calls = "", []
    raw = b"".join([piece async for piece in reply.sse()])
    for line in raw.split(b"\n\n"):
        if not line.startswith(b"data: {"):
            continue
        for choice in orjson.loads(line[6:])["choices"]:
            delta = choice["delta"]
            text += delta.get("content") or ""
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    calls.append(call)
                else:
                    calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    calls = [{key: call[key] for key in ("id", "type", "function")} for call in calls]
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
