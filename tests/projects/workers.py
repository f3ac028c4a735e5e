"""Verifiers as workers have them, on one database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from gw.projects.directory import Directory
from gw.projects.parse import key_from_json
from gw.projects.types import NewKey
from gw.projects.verifier import Verifier
from gw.settings import Ledger
from gw.store.engine import open_engine
from middleware._state import Principal

PEPPER = b"a-pepper-of-the-tests-0123456789"
GATEWAY_KEY = "a-gateway-key-of-the-tests-0123456789"
WHO = "admin:test"


class Questions:
    """Opens engines, and counts what they are asked."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.asked: list[str] = []
        self.errors: list[str] = []

    def __call__(self) -> AsyncEngine:
        from sqlalchemy import event

        engine = open_engine(self.ledger, connections=3, seconds=1.0)

        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.asked.append(statement)

        def note_error(context: Any) -> None:
            self.errors.append(type(context.original_exception).__name__)

        event.listen(engine.sync_engine, "before_cursor_execute", note)
        event.listen(engine.sync_engine, "handle_error", note_error)
        return engine

    def for_keys(self) -> int:
        return sum("digest" in statement for statement in self.asked)


@asynccontextmanager
async def worker(open_one: Callable[[], AsyncEngine], **more: Any) -> AsyncIterator[Verifier]:
    """A verifier that has looked at the directory, and does so twenty times a second."""
    found = Verifier(open_one, PEPPER, GATEWAY_KEY, **{"poll_seconds": 0.05, **more})
    found.start()
    try:
        await ask(found, GATEWAY_KEY)
        yield found
    finally:
        await found.stop()


async def ask(verifier: Verifier, credential: str) -> Principal | None:
    answer = verifier(credential)
    return answer if answer is None or isinstance(answer, Principal) else await answer


def is_remembered(verifier: Verifier, credential: str) -> bool:
    """Whether the answer is there without waiting."""
    answer = verifier(credential)
    if answer is None or isinstance(answer, Principal):
        return True
    answer.close()  # type: ignore[attr-defined]
    return False


async def until(done: Callable[[], Any], seconds: float = 10.0) -> float:
    """Seconds until ``done``, which may be a coroutine function. Fails when it does not become true."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        found = done()
        if await found if asyncio.iscoroutine(found) else found:
            return time.monotonic() - begun
        await asyncio.sleep(0.01)
    raise AssertionError("it has not come about")


async def new_key(directory: Directory, project: str = "default", **more: Any) -> NewKey:
    return await directory.create_key(project, key_from_json(more), actor=WHO)


def other_secret(token: str) -> str:
    """The same key with another last character."""
    return token[:-1] + ("0" if token[-1] != "0" else "1")
