"""What is asked in a soak: every dialect, several models and providers, whole and streamed, with tools and
prompt caches; and how it goes wrong. The same seed asks the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

#: Where each model is asked. `local:` is Ollama, `openai:` an OpenAI-compatible server, all simulated.
_CHATS = ("chat", "messages", "responses")
TARGETS: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("claude-opus-5-5", _CHATS, 14),
    ("claude-sonnet-5-5", _CHATS, 14),
    ("claude-haiku-5-5", _CHATS, 14),
    ("bedrock:anthropic.claude-opus-5-5", _CHATS, 8),
    ("local:qwen2.5:7b", (*_CHATS, "completions"), 16),
    ("local:qwen3:8b", ("chat", "messages"), 6),
    ("local:nomic-embed-text:latest", ("embeddings",), 3),
    ("openai:gpt-4o", _CHATS, 16),
    ("openai:gpt-3.5-turbo-instruct", ("completions",), 4),
    ("openai:text-embedding-3-small", ("embeddings",), 3),
)
PATHS = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
#: Faults of the simulated upstream in the middle of an answer, and in place of one.
LATE = ("reset", "cut", "truncate", "stall", "error", "bad_json", "bad_utf8", "unknown_event")
EARLY = ("hang", "drop", "bad_http", "status=400", "status=429", "status=500", "status=529", "error after=0")
_TOOL = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
#: Long enough for every model's prompt cache.
_SYSTEMS = [f"You are assistant number {n}. " + "Be brief, be kind, be right. " * 700 for n in range(4)]


@dataclass(slots=True, frozen=True)
class Ask:
    """One request. ``leave_at``: the client goes when it has so many bytes; ``leave_after``: after so many
    seconds, answered or not. None: it stays. ``why`` is what is to go wrong, for the report."""

    number: int
    tag: str
    dialect: str
    model: str
    stream: bool
    body: bytes
    key: int
    why: str = ""
    leave_at: int | None = None
    leave_after: float | None = None

    @property
    def path(self) -> str:
        return PATHS[self.dialect]

    @property
    def geo(self) -> str:
        """Where Claude is asked to compute; empty where nothing is said of that."""
        return "us" if b'"inference_geo":"us"' in self.body else ""


def asks(count: int, *, seed: int, keys: int) -> Iterator[Ask]:
    """``count`` requests of as many callers as there are ``keys``."""
    chance = random.Random(seed)
    weights = [weight for _, _, weight in TARGETS]
    for number in range(count):
        model, dialects, _ = chance.choices(TARGETS, weights)[0]
        yield _ask(chance, number, f"s{seed}-{number:06}", model, chance.choice(dialects), keys)


def _ask(chance: random.Random, number: int, tag: str, model: str, dialect: str, keys: int) -> Ask:
    key = chance.randrange(keys)
    if dialect == "embeddings":
        texts = [f"[tag {tag}] " + "red green blue " * chance.randrange(1, 60) for _ in range(2)]
        return Ask(
            number,
            tag,
            dialect,
            model,
            False,
            orjson.dumps({"model": model, "input": texts}),
            key,
            "embeddings",
        )
    stream = chance.random() < 0.65
    tokens, delay, why = chance.randrange(1, 120), 0, ""
    leave_at: int | None = None
    leave_after: float | None = None
    directive = ""
    fate = chance.random()
    if fate < 0.60:
        directive = f"tokens={tokens}" if chance.random() < 0.7 else ""
    elif fate < 0.74:
        why = "left"
        tokens, delay = chance.randrange(60, 300), chance.randrange(2, 9)
        directive = f"tokens={tokens} delay_ms={delay}"
        if stream:
            leave_at = chance.randrange(1, 30_000)
        else:
            directive += f" hold_ms={chance.randrange(50, 400)}"
            leave_after = chance.uniform(0.0, 0.6)
    elif fate < 0.77:
        why, directive, leave_after = "left waiting", "fault=hang", chance.uniform(0.02, 0.5)
    elif fate < 0.90:
        why = chance.choice(LATE)
        directive = f"tokens={tokens} fault={why}"
        if why in ("bad_json", "bad_utf8", "unknown_event", "error") or chance.random() < 0.7:
            directive += f" after={chance.randrange(1, tokens + 6)}"
    else:
        why = chance.choice(EARLY)
        directive = why if why.startswith("status") else f"fault={why}"
    text = f"{f'[sim {directive}] ' if directive else ''}[tag {tag}] " + "Tell me more. " * chance.randrange(
        1, 40
    )
    if not directive and chance.random() < 0.5:
        text += "Use the tool."
    body = _BODIES[dialect](chance, model, text, "Use the tool." in text)
    if stream:
        body["stream"] = True
    return Ask(number, tag, dialect, model, stream, orjson.dumps(body), key, why, leave_at, leave_after)


def _chat(chance: random.Random, model: str, text: str, tool: bool) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
    if chance.random() < 0.3:
        messages.insert(0, {"role": "system", "content": "You are brief."})
    body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": 2_000}
    if tool:
        function = {"name": "weather", "description": "The weather.", "parameters": _TOOL}
        body["tools"] = [{"type": "function", "function": function}]
    if model.startswith("claude") and chance.random() < 0.3:
        body["reasoning_effort"] = chance.choice(("low", "high"))
    return body


def _messages(chance: random.Random, model: str, text: str, tool: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": 2_000,
        "messages": [{"role": "user", "content": text}],
    }
    if tool:
        body["tools"] = [{"name": "weather", "description": "The weather.", "input_schema": _TOOL}]
    if model.startswith("claude") and chance.random() < 0.2:
        body["inference_geo"] = "us"
    if "claude" in model and chance.random() < 0.4:
        mark = {"type": "ephemeral", "ttl": chance.choice(("5m", "1h"))}
        body["system"] = [{"type": "text", "text": chance.choice(_SYSTEMS), "cache_control": mark}]
        if chance.random() < 0.5:  # this one is written anew each time
            body["messages"][0]["content"] = [{"type": "text", "text": text, "cache_control": mark}]
    if model.startswith("claude") and chance.random() < 0.3:
        body["thinking"] = {"type": "adaptive"}
    return body


def _responses(chance: random.Random, model: str, text: str, tool: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "input": text, "max_output_tokens": 2_000}
    if chance.random() < 0.3:
        body["instructions"] = "You are brief."
    if tool:
        body["tools"] = [{"type": "function", "name": "weather", "parameters": _TOOL}]
    return body


def _completions(_: random.Random, model: str, text: str, __: bool) -> dict[str, Any]:
    return {"model": model, "prompt": text, "max_tokens": 2_000}


_BODIES: dict[str, Callable[[random.Random, str, str, bool], dict[str, Any]]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
    "completions": _completions,
}
