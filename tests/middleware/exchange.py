"""A request in a task of its own under the disconnect middleware, and the applications it may meet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from middleware.disconnect import DisconnectMiddleware

from .asgi import Answer, Client, answer_of, body_messages, make_scope

Handler = Callable[[Any, Any, Any], Awaitable[None]]
SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]


async def answer_ok(send: Any, body: bytes = b"ok") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def start_stream(send: Any, headers: Any = SSE, piece: bytes = b"data: 1\n\n") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": piece, "more_body": True})


class Exchange:
    """One request in a task of its own, with its state and its client to play with."""

    def __init__(
        self,
        handler: Handler,
        *,
        path: str = "/v1/chat/completions",
        client: Client | None = None,
        **options: Any,
    ) -> None:
        self.others = asyncio.all_tasks()
        self.state: dict[str, Any] = {"gateway.owned": True}
        self.client = client or Client(body_messages(b"{}"))
        options.setdefault("watch_after", 0.001)
        app = DisconnectMiddleware(handler, **options)
        self.send: Any = self.client.send

        async def send(message: Any) -> None:
            await self.send(message)

        self._asking = 0
        self.overlapped = False

        async def receive() -> Any:
            self._asking += 1
            self.overlapped |= self._asking > 1
            try:
                return await self.client.receive()
            finally:
                self._asking -= 1

        self.task = asyncio.create_task(app(make_scope(path=path, state=self.state), receive, send))

    async def done(self) -> Answer:
        async with asyncio.timeout(5):
            await self.task
        assert not self.overlapped, "a server need not stand two receive() at once"
        assert self.task.cancelling() == 0, "the server's task must not stay marked as cancelled"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= self.others, "the watch left something behind"
        return answer_of(self.client.sent)


def sleeper(cancelled: asyncio.Event, *, read: bool = True, start: bool = False) -> Handler:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if read:
            await receive()
        if start:
            await start_stream(send)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    return app
