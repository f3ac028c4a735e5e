"""What the doctor's tests share: an HTTP client with scripted answers, and a context around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from gw.doctor.context import Context
from gw.doctor.report import Section
from gw.settings import load
from providers.errors import ProviderError
from providers.http import Header, HttpResponse, Timeouts

KEY = "f3a9c1e07b5d48229e6cc0a1d4b87f35"
ADMIN = "0d7e6b2f9a1c43d8b5e0c7f2a9d4e811"
CLAUDE = "sk-ant-api03-w8K2mQ9xTz4vBn7LpR5sYd3F"


@dataclass
class Scripted:
    """One answer. ``body`` that is no bytes goes out as JSON."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class Client:
    """Answers by path; an exception is raised, a path that was not foreseen is an error of the test."""

    def __init__(self, answers: Mapping[str, Scripted | ProviderError | Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[tuple[str, str, Sequence[Header], bytes]] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> HttpResponse:
        path = urlsplit(url).path
        self.asked.append((method, path, tuple(headers), body))
        answer = self.answers[path]
        if callable(answer):
            answer = answer(headers)
        if isinstance(answer, ProviderError):
            raise answer
        return _Response(answer if isinstance(answer, Scripted) else Scripted(body=answer))

    async def aclose(self) -> None: ...


class _Response:
    attempts = 1

    def __init__(self, answer: Scripted) -> None:
        self.status = answer.status
        raw = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
        kind = "text/html" if isinstance(answer.body, bytes) else "application/json"
        names = {"content-type": kind, **answer.headers}
        self.headers: Sequence[Header] = [(name.encode(), value.encode()) for name, value in names.items()]
        self._raw = raw

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    @property
    def ended(self) -> bool:
        return not self._raw

    async def read_some(self) -> bytes:
        raw, self._raw = self._raw, b""
        return raw

    async def read(self, limit: int = 32 * 1024 * 1024) -> bytes:
        return await self.read_some()

    async def aclose(self) -> None: ...

    async def __aenter__(self) -> HttpResponse:
        return self

    async def __aexit__(self, *exc: object) -> None: ...


def context(client: Client | None = None, /, **environ: str) -> Context:
    """A context of a healthy gateway with Claude; ``environ`` goes on top (an empty text unsets)."""
    full = {"GATEWAY_API_KEY": KEY, "ADMIN_API_KEY": ADMIN, "ANTHROPIC_API_KEY": CLAUDE, **environ}
    return Context(load(full), full, client or Client({}), Timeouts(1, 1, 1, 1), seconds=2)


def said(section: Section, status: str) -> str:
    """All of the findings with ``status``, each with its fix."""
    return "\n".join(f"{f.text} -> {f.fix}" for f in section.findings if f.status == status)


def problems(section: Section) -> list[str]:
    return [f.text for f in section.findings if f.status in ("warn", "fail")]
