"""Stand-ins for an HTTP client: answers that are scripted to the byte."""

from __future__ import annotations

from collections.abc import Sequence

from providers.base import ChatReply
from providers.errors import ProviderError
from providers.http.types import Header, Timeouts

EVENT_STREAM: tuple[Header, ...] = ((b"content-type", b"text/event-stream"), (b"request-id", b"req_1"))


class Scripted:
    """An HTTP response that gives ``reads`` one by one; an exception among them is raised."""

    attempts = 1

    def __init__(
        self, *reads: bytes | ProviderError, status: int = 200, headers: Sequence[Header] = EVENT_STREAM
    ) -> None:
        self.status = status
        self.headers = headers
        self.closed = 0
        self.left = list(reads)

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def ended(self) -> bool:
        return False  # not known without reading

    async def read_some(self) -> bytes:
        read = self.left.pop(0) if self.left else b""
        if isinstance(read, ProviderError):
            raise read
        return read

    async def read(self, limit: int = 1 << 20) -> bytes:
        found = b""
        while piece := await self.read_some():
            found += piece
        return found

    async def aclose(self) -> None:
        self.closed += 1

    async def __aenter__(self) -> Scripted:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


class Client:
    """An HTTP client that gives one scripted answer after the other and remembers what was asked."""

    def __init__(self, *answers: Scripted | ProviderError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[bytes, bytes], bytes]] = []
        #: The headers of each request, in their order and with those that stand twice.
        self.headers: list[list[Header]] = []
        self.closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> Scripted:
        self.headers.append(list(headers))
        self.asked.append((method, url, dict(headers), body))
        answer = self.answers.pop(0)
        if isinstance(answer, ProviderError):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.closed = True


async def read(answer: ChatReply) -> tuple[bytes, ProviderError | None]:
    """What an answer streams, and the failure that it ends with."""
    out = b""
    try:
        async for piece in answer.sse():
            assert piece
            out += piece
    except ProviderError as failure:
        return out, failure
    return out, None
