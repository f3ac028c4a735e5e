"""Run an ASGI app in-process: a scripted client on one side, the collected messages on the other.

The client behaves as a well-mannered server does: the body's messages come first, then ``receive``
blocks until the client "hangs up", which happens only when a test asks for it. It never invents an
``http.disconnect`` of its own accord.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

Message = dict[str, Any]
Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def raw_headers(headers: Headers | None) -> list[tuple[bytes, bytes]]:
    """Headers as a server delivers them: bytes, names in lower case, order and duplicates kept."""
    items: Iterable[tuple[str | bytes, str | bytes]]
    items = headers.items() if isinstance(headers, Mapping) else headers or ()
    return [(_raw(name).lower(), _raw(value)) for name, value in items]


def make_scope(
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    headers: Headers | None = None,
    query: str | bytes = b"",
    state: dict[str, Any] | None = None,
    client: tuple[str, int] | None = ("127.0.0.1", 5000),
    http_version: str = "1.1",
) -> dict[str, Any]:
    """An HTTP scope. ``host: testserver`` is added unless ``headers`` is a list (then it is
    exactly what was given, so that a missing or repeated Host can be written down)."""
    raw = raw_headers(headers)
    if headers is None or isinstance(headers, Mapping):
        names = {name for name, _ in raw}
        raw = raw if b"host" in names else [(b"host", b"testserver"), *raw]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": http_version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": _raw(query),
        "root_path": "",
        "headers": raw,
        "client": client,
        "server": ("127.0.0.1", 8080),
        "extensions": {},
    }
    if state is not None:
        scope["state"] = state
    return scope


class Client:
    """The client's end: ``receive`` and ``send`` for one request.

    ``messages`` are handed out in order. When they are used up ``receive`` waits for
    :meth:`hang_up`, and says ``http.disconnect`` from then on.
    """

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self._inbox = list(messages)
        self._gone = asyncio.Event()
        self.received = 0
        self.sent: list[Message] = []

    def hang_up(self) -> None:
        self._gone.set()

    async def receive(self) -> Message:
        self.received += 1
        if self._inbox:
            return self._inbox.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))


def body_messages(body: bytes | Sequence[bytes] = b"") -> list[Message]:
    """``http.request`` messages: one for bytes, one per item for a list (the last has no more)."""
    chunks = [body] if isinstance(body, bytes) else list(body) or [b""]
    last = len(chunks) - 1
    return [{"type": "http.request", "body": c, "more_body": i < last} for i, c in enumerate(chunks)]


@dataclass
class Answer:
    """What the app sent. ``status`` is 0 when it sent nothing. Header names in lower case."""

    status: int = 0
    raw_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    messages: list[Message] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        """The last value of each header; see ``raw_headers`` for duplicates."""
        return {k.decode("latin-1"): v.decode("latin-1") for k, v in self.raw_headers}

    def json(self) -> Any:
        return orjson.loads(self.body)


def answer_of(sent: Sequence[Message]) -> Answer:
    """Collect ASGI messages into an :class:`Answer`."""
    answer = Answer(messages=list(sent))
    for message in sent:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.raw_headers = [(bytes(k).lower(), bytes(v)) for k, v in message.get("headers", ())]
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")
    return answer


async def call(
    app: Any,
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    headers: Headers | None = None,
    body: bytes | Sequence[bytes] = b"",
    query: str | bytes = b"",
    state: dict[str, Any] | None = None,
    client: tuple[str, int] | None = ("127.0.0.1", 5000),
    timeout: float = 10.0,
) -> Answer:
    """Send one request to ``app`` and collect its answer.

    A ``content-length`` is added for a body given as bytes and headers not given as a list; a list
    of chunks travels as a chunked body does, without one. Raises ``TimeoutError`` when the app
    does not finish within ``timeout`` seconds, and whatever the app raises.
    """
    scope = make_scope(method=method, path=path, headers=headers, query=query, state=state, client=client)
    exact = headers is not None and not isinstance(headers, Mapping)
    declared = any(name == b"content-length" for name, _ in scope["headers"])
    if isinstance(body, bytes) and body and not exact and not declared:
        scope["headers"].append((b"content-length", str(len(body)).encode()))
    peer = Client(body_messages(body))
    async with asyncio.timeout(timeout):
        await app(scope, peer.receive, peer.send)
    return answer_of(peer.sent)
