"""Rows against the bill of a strict upstream: every provider and dialect, streamed or whole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gw.dispatch import Prefixed
from gw.ledger.row import Row
from perf.simulated import SimulatedUpstream
from perf.simulated.bills import Line
from providers.http import EngineClient
from providers.ollama.adapter import OllamaProvider
from tests.providers.contract import Subject
from tests.providers.contract_stage import PATIENT
from tests.providers.subjects import ANTHROPIC, BEDROCK, OLLAMA, OPENAI, VERTEX

from .stub import Front, MemoryJournal, front

pytestmark = pytest.mark.anyio

SAID = "Say something about the weather, please."
SAY = [{"role": "user", "content": SAID}]
DIALECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": SAY, "max_tokens": 900}),
    "messages": ("/v1/messages", {"messages": SAY, "max_tokens": 900}),
    "responses": ("/v1/responses", {"input": SAID, "max_output_tokens": 900}),
    "simple": ("/chat", {"message": SAID}),
}
#: Behind the last event, where everything has been told.
ALL = 900
#: How an answer ends.
ENDS = [
    {},
    *(
        {"fault": fault, "after": after}
        for fault in ("reset", "truncate", "error")
        for after in (0, 3, 40, ALL)
    ),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "subject", [ANTHROPIC, BEDROCK, VERTEX, OLLAMA, OPENAI], ids=lambda subject: subject.name
)
async def test_what_a_row_does_not_call_estimated_is_what_was_billed(subject: Subject, dialect: str) -> None:
    async with SimulatedUpstream(strict=True) as sim:
        client, journal = EngineClient(), MemoryJournal()
        provider = subject.make(client, sim.base_url, PATIENT)
        if isinstance(provider, OllamaProvider):
            await provider.models()
        try:
            async with front(others={"x": Prefixed(provider)}, journal=journal) as gateway:
                for stream in (False, True) if dialect != "simple" else (False,):
                    for end in ENDS:
                        sim.script({"tokens": 120, "path": _path(subject, dialect, stream), **end})
                        await _ask(gateway, subject, dialect, stream)
                        row, line = journal.rows[-1], await _line(sim, len(journal.rows))
                        _agree(row, line, f"stream={stream} {end}")
                        if line.outcome in ("finished", "refused"):
                            assert row.estimated == "", (stream, end)
                        elif end["after"] != ALL:
                            assert row.estimated, (stream, end)
        finally:
            await client.aclose()


async def _ask(gateway: Front, subject: Subject, dialect: str, stream: bool) -> None:
    path, body = DIALECTS[dialect]
    more = {"stream": True} if stream else {}
    await gateway.post(path, {**body, "model": f"x:{subject.models.plain}", **more})


def _path(subject: Subject, dialect: str, stream: bool) -> str:
    """Where the upstream is asked; Vertex has a place of its own for whole answers that pass."""
    path = str(subject.path)
    return path.replace("streamRawPredict", "rawPredict") if dialect == "messages" and not stream else path


async def _line(sim: SimulatedUpstream, count: int) -> Line:
    """The bill's line ``count``; it is written when the connection is over."""
    async with asyncio.timeout(10):
        while len(sim.bills) < count:
            await asyncio.sleep(0.002)
    assert len(sim.bills) == count
    return next(iter(sim.bills.since(count - 1)))


def _agree(row: Row, line: Line, where: str) -> None:
    bill = line.bill
    if "input" not in row.estimated:
        assert (
            row.input_tokens,
            row.cache_read_tokens,
            row.cache_write_5m_tokens,
            row.cache_write_1h_tokens,
        ) == (
            bill.input,
            bill.cache_read,
            bill.cache_write_5m,
            bill.cache_write_1h,
        ), where
    if "output" not in row.estimated:
        assert (row.output_tokens, row.reasoning_tokens) == (bill.output, bill.reasoning), where
    elif line.stream:  # what had come of it, about
        assert abs(row.output_tokens - bill.output) <= 3 + bill.output // 4, where
    assert row.attempts == 1, where
