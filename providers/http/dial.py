"""A connected socket for an origin: resolve, race the addresses, hand over to TLS.

Three steps instead of one ``loop.create_connection`` because uvloop's has no happy eyeballs, and because
each step fails under a name of its own (``dns``, ``connect``, ``tls``).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from ..errors import Unreachable
from .request import Origin

#: RFC 8305 §5: "Connection Attempt Delay", recommended value.
_STAGGER = 0.25

_Address = tuple[int, int, int, str, Any]


async def dial(origin: Origin, protocol: asyncio.Protocol, context: ssl.SSLContext | None) -> None:
    """Connect ``protocol`` to ``origin``. Raises ``Unreachable``; leaves nothing open when cancelled."""
    _, host, port = origin
    loop = asyncio.get_running_loop()
    try:
        addresses = await _resolve(loop, host, port)
    except (OSError, UnicodeError) as exc:  # UnicodeError: a label that IDNA cannot encode
        raise Unreachable(f"cannot resolve {host}", stage="dns", code="upstream_dns") from exc
    try:
        sock = await _race(loop, addresses)
    except OSError as exc:
        raise Unreachable(f"cannot connect to {host}:{port}") from exc
    server_hostname = host if context is not None else None
    try:
        await loop.create_connection(
            lambda: protocol, sock=sock, ssl=context, server_hostname=server_hostname
        )
    except OSError as exc:
        # A certificate does not get better by asking again.
        retryable = not isinstance(exc, ssl.SSLCertVerificationError)
        raise Unreachable(
            f"TLS with {host}:{port} failed", stage="tls", code="upstream_tls", retryable=retryable
        ) from exc


async def _resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[_Address]:
    """Addresses with the families interleaved (RFC 8305 §4), in the resolver's order."""
    found: Sequence[Any]
    try:  # an address needs no resolver, hence no thread
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError("the resolver answered with no address")
    first = [entry for entry in found if entry[0] == found[0][0]]
    other = [entry for entry in found if entry[0] != found[0][0]]
    return [entry for entry in chain.from_iterable(zip_longest(first, other)) if entry is not None]


async def _race(loop: asyncio.AbstractEventLoop, addresses: list[_Address]) -> socket.socket:
    """The first address that accepts wins; the next is tried when one fails or after the stagger."""
    if len(addresses) == 1:
        return await _connect(loop, addresses[0])
    waiting = iter(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException = OSError("no address")
    winner: socket.socket | None = None
    try:
        while winner is None:
            address = next(waiting, None)
            if address is not None:
                running.add(loop.create_task(_connect(loop, address)))
            elif not running:
                raise failure
            done, _ = await asyncio.wait(
                running,
                timeout=None if address is None else _STAGGER,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                running.discard(task)
                error = task.exception()
                if error is not None:
                    failure = error
                elif winner is None:
                    winner = task.result()
                else:
                    task.result().close()
        return winner
    finally:
        for task in running:
            if not task.cancel() and task.exception() is None:
                task.result().close()  # it connected while the race was being called off
        await asyncio.gather(*running, return_exceptions=True)


async def _connect(loop: asyncio.AbstractEventLoop, address: _Address) -> socket.socket:
    family, kind, proto, _, sockaddr = address
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A peer that vanished without a word is noticed by the kernel, however long the idle time-out.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await loop.sock_connect(sock, sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock
