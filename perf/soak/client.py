"""A client that leaves when it wants to: at a byte, or after a time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from .traffic import Ask

#: Seconds for one request, above all time-outs of the gateway.
_PATIENCE = 120.0


@dataclass(slots=True, frozen=True)
class Outcome:
    """``status`` is 0 without a response. ``ended``: ``whole``, ``left`` by this client, or ``broken`` by the
    gateway (a worker that was killed)."""

    status: int
    size: int
    ended: str


async def play(port: int, key: str, ask: Ask) -> Outcome:
    """Ask the gateway on ``port``, on a connection of its own, so that nothing is ever sent twice."""
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return Outcome(0, 0, "broken")
    head = (
        f"POST {ask.path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n"
        f"x-request-id: {ask.tag}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        f"content-length: {len(ask.body)}\r\n\r\n"
    )
    found = bytearray()
    ended = "broken"
    try:
        writer.write(head.encode() + ask.body)
        async with asyncio.timeout(_PATIENCE if ask.leave_after is None else ask.leave_after):
            while True:
                if ask.leave_at is not None and len(found) >= ask.leave_at:
                    ended = "left"
                    break
                most = 65_536 if ask.leave_at is None else min(ask.leave_at - len(found), 65_536)
                piece = await reader.read(most)
                if not piece:
                    ended = "whole" if _is_whole(bytes(found)) else "broken"
                    break
                found += piece
    except TimeoutError:
        if ask.leave_after is None:
            raise TimeoutError(f"{ask.tag} was not answered in {_PATIENCE} s") from None
        ended = "left"
    except OSError:
        ended = "broken"
    finally:
        if ask.number % 2:
            writer.transport.abort()  # a reset; the other half says goodbye
        else:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    return Outcome(_status(bytes(found[:32])), len(found), ended)


def _status(head: bytes) -> int:
    code = head.removeprefix(b"HTTP/1.1 ")[:3]
    return int(code) if head.startswith(b"HTTP/1.1 ") and code.isdigit() else 0


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) == int(line.removeprefix(b"content-length:"))
    return body.endswith(b"0\r\n\r\n")
