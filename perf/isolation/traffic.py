"""Requests with a tenant's canaries in them: every dialect, whole and streamed, refused, broken off, left."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from providers.errors import ProviderError
from providers.http import HttpClient

from .tenants import Canaries, Tenant

CLAUDE = "claude-opus-4-6"
LOCAL = "local:llama3.1:8b"
EMBEDDER = "local:nomic-embed-text"
#: Keys under which the dialects' streams hold a piece of text.
_PIECES = frozenset({"text", "content", "delta", "reasoning_content", "response"})


@dataclass(slots=True, frozen=True)
class Wish:
    """One request. ``says``: the answer has to hold the tenant's canary; ``rows``: how many it makes."""

    name: str
    path: str
    body: bytes
    status: tuple[int, ...] = (200,)
    says: bool = True
    leaves: bool = False
    rows: int = 1
    key: str | None = None


Make = Callable[[Tenant, random.Random], Wish]


def _text(tenant: Tenant, *directive: str) -> str:
    wanted = " ".join(directive) or f"text='it is {tenant['answer']} and nothing else'"
    return f"Keep {tenant['prompt']} to yourself. [sim {wanted}]"


def _json(path: str, name: str, body: Mapping[str, Any], **more: Any) -> Wish:
    return Wish(name, path, orjson.dumps(body), **more)


def chat(model: str, *, stream: bool) -> Make:
    def make(tenant: Tenant, _: random.Random) -> Wish:
        body = {
            "model": model,
            "max_tokens": 100,
            "stream": stream,
            "user": tenant["person"],
            "messages": [
                {"role": "system", "content": f"You work for {tenant['person']}."},
                {"role": "user", "content": _text(tenant)},
            ],
        }
        return _json("/v1/chat/completions", f"chat {model} {stream}", body)

    return make


def messages(model: str, *, stream: bool) -> Make:
    def make(tenant: Tenant, _: random.Random) -> Wish:
        body = {
            "model": model,
            "max_tokens": 100,
            "stream": stream,
            "metadata": {"user_id": tenant["person"]},
            "messages": [{"role": "user", "content": _text(tenant)}],
        }
        return _json("/v1/messages", f"messages {model} {stream}", body)

    return make


def responses(model: str, *, stream: bool) -> Make:
    def make(tenant: Tenant, _: random.Random) -> Wish:
        body = {
            "model": model,
            "max_output_tokens": 100,
            "stream": stream,
            "store": False,
            "instructions": f"You work for {tenant['person']}.",
            "input": _text(tenant),
        }
        return _json("/v1/responses", f"responses {model} {stream}", body)

    return make


def embeddings(tenant: Tenant, _: random.Random) -> Wish:
    return _json("/v1/embeddings", "embeddings", {"model": EMBEDDER, "input": tenant["prompt"]}, says=False)


def simple(tenant: Tenant, _: random.Random) -> Wish:
    return _json("/chat", "simple", {"model": CLAUDE, "message": _text(tenant)})


def count(tenant: Tenant, _: random.Random) -> Wish:
    body = {"model": CLAUDE, "messages": [{"role": "user", "content": _text(tenant)}]}
    return _json("/v1/messages/count_tokens", "count", body, says=False, rows=0)


def upstream_error(tenant: Tenant, chance: random.Random) -> Wish:
    status = chance.choice((400, 404, 429, 500, 529))
    said = f"status={status} message='no, says {tenant['answer']}'"
    body = {
        "model": CLAUDE,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": _text(tenant, said)}],
    }
    path = chance.choice(("/v1/messages", "/v1/chat/completions"))
    return _json(path, "upstream error", body, status=(400, 404, 429, 500, 502, 503, 529), says=False)


def broken_stream(tenant: Tenant, chance: random.Random) -> Wish:
    fault = chance.choice(("reset", "truncate", "error", "bad_json"))
    said = f"fault={fault} after=3 text='it is {tenant['answer']} and nothing else'"
    body = {
        "model": CLAUDE,
        "max_tokens": 100,
        "stream": True,
        "messages": [{"role": "user", "content": _text(tenant, said)}],
    }
    path = chance.choice(("/v1/messages", "/v1/chat/completions"))
    return _json(path, f"broken stream {fault}", body, status=(200, 502, 503, 529), says=False)


def left(tenant: Tenant, chance: random.Random) -> Wish:
    said = f"delay_ms=2 text='it is {tenant['answer']} and nothing else, for a while, and a while more'"
    body = {
        "model": chance.choice((CLAUDE, LOCAL)),
        "max_tokens": 100,
        "stream": True,
        "messages": [{"role": "user", "content": _text(tenant, said)}],
    }
    path = chance.choice(("/v1/messages", "/v1/chat/completions"))
    return _json(path, "left", body, says=False, leaves=True)


def unknown_model(tenant: Tenant, _: random.Random) -> Wish:
    body = {"model": tenant["model"], "messages": [{"role": "user", "content": _text(tenant)}]}
    return _json("/v1/chat/completions", "unknown model", body, status=(404,), says=False)


def bad_body(tenant: Tenant, _: random.Random) -> Wish:
    body = b'{"model": "sonnet", "messages": "%b", "%b' % (
        tenant["prompt"].encode(),
        tenant["answer"].encode(),
    )
    return Wish("bad body", "/v1/chat/completions", body, (400,), says=False)


def bad_field(tenant: Tenant, _: random.Random) -> Wish:
    body = {"model": CLAUDE, "max_tokens": tenant["person"], "messages": [{"role": tenant["prompt"]}]}
    return _json("/v1/messages", "bad field", body, status=(400,), says=False)


def wrong_key(tenant: Tenant, _: random.Random) -> Wish:
    last = "0" if tenant.key[-1] != "0" else "1"
    body = {"model": CLAUDE, "messages": [{"role": "user", "content": _text(tenant)}]}
    return _json(
        "/v1/chat/completions",
        "wrong key",
        body,
        status=(401,),
        says=False,
        rows=0,
        key=tenant.key[:-1] + last,
    )


#: What is asked, and how often among a hundred.
MIX: tuple[tuple[Make, int], ...] = (
    *((chat(CLAUDE, stream=stream), 11) for stream in (False, True)),
    *((messages(CLAUDE, stream=stream), 10) for stream in (False, True)),
    *((responses(CLAUDE, stream=stream), 6) for stream in (False, True)),
    *((chat(LOCAL, stream=stream), 7) for stream in (False, True)),
    (messages(LOCAL, stream=True), 4),
    (responses(LOCAL, stream=True), 3),
    (embeddings, 4),
    (simple, 3),
    (count, 2),
    (upstream_error, 4),
    (broken_stream, 3),
    (left, 3),
    (unknown_model, 2),
    (bad_body, 1),
    (bad_field, 1),
    (wrong_key, 2),
)


class Traffic:
    """Sends requests of random tenants and looks into every answer. ``problems``: what was wrong in them."""

    def __init__(self, base_url: str, canaries: Canaries, tenants: list[Tenant], *, seed: int) -> None:
        self._base_url = base_url
        self._canaries = canaries
        self._tenants = tenants
        self._chance = random.Random(seed)
        self._makes = [make for make, _ in MIX]
        self._weights = [weight for _, weight in MIX]
        self.sent = 0
        self.heard = 0
        self.by_status: dict[int, int] = {}
        self.problems: list[str] = []

    async def one(self, client: HttpClient) -> None:
        """One request of anybody's, and what is wrong with its answer."""
        chance = self._chance
        tenant = chance.choice(self._tenants)
        (make,) = chance.choices(self._makes, self._weights)
        wish = make(tenant, chance)
        self.sent += 1
        tenant.rows += wish.rows
        status, head, body = await self._send(client, tenant, wish)
        self.by_status[status] = self.by_status.get(status, 0) + 1
        said = pieces(body)
        problems = self._canaries.strangers(tenant, head, body, said)
        if status not in wish.status:
            problems.append(f"status {status}: {body[:300]!r}")
        own = tenant["answer"].encode()
        heard = own in body or own in said
        self.heard += heard
        if wish.says and not heard:
            problems.append(f"an answer without its canary: {body[:300]!r}")
        self.problems += [f"{tenant.project}, {wish.name}: {problem}" for problem in problems]

    async def _send(self, client: HttpClient, tenant: Tenant, wish: Wish) -> tuple[int, bytes, bytes]:
        headers = [
            (b"authorization", f"Bearer {wish.key or tenant.key}".encode()),
            (b"content-type", b"application/json"),
            (b"x-request-id", tenant["request"].encode()),
            (b"anthropic-version", b"2023-06-01"),
        ]
        response = await client.request("POST", self._base_url + wish.path, headers=headers, body=wish.body)
        head = b"\n".join(name + b": " + value for name, value in response.headers)
        body = b""
        async with response:
            try:
                while chunk := await response.read_some():
                    body += chunk
                    if wish.leaves:
                        break
            except ProviderError:
                pass  # a stream that was broken off ends like that, and has an event that says so
        return response.status, head, body


def pieces(body: bytes) -> bytes:
    """The texts of a stream's events put together, since a canary may stand in several of them."""
    if b"data: " not in body:
        return b""
    texts: list[str] = []
    for line in body.split(b"\n"):
        if line.startswith(b"data: {"):
            try:
                texts += _texts(orjson.loads(line[6:]))
            except ValueError:
                continue
    return "".join(texts).encode()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if str(value.get("type", "")).endswith((".done", ".completed")):
            return  # says once more what was said in pieces
        for name, part in value.items():
            if isinstance(part, str):
                if name in _PIECES:
                    yield part
            else:
                yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
