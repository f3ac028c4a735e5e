"""The exact events that every caller gets from every upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .gateway import Gateway
from .rules import RULES
from .transcripts import ALL, UPSTREAMS, Transcript, events, rendered

#: Bytes between two cuts: less than any event has, so that every event is cut in each of its places.
STRIDE = 37
#: Transcripts that are cut at each byte alone, which takes a second for every few kilobytes.
SHORT = [asked for asked in ALL if len(asked.said()) < 1_000]

every = pytest.mark.parametrize("asked", ALL, ids=lambda asked: asked.name)


class Gateways:
    """One gateway for each upstream in one event loop, so that tens of thousands of answers are quick."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._made = {upstream: runner.run(_made(upstream)) for upstream in UPSTREAMS}

    def get(self, asked: Transcript, pieces: Sequence[bytes]) -> str:
        return rendered(self.raw(asked, pieces))

    def raw(self, asked: Transcript, pieces: Sequence[bytes]) -> bytes:
        return self._runner.run(self._made[asked.upstream].stream(asked, pieces))

    def close(self) -> None:
        for gateway in self._made.values():
            self._runner.run(gateway.aclose())


async def _made(upstream: str) -> Gateway:
    return Gateway(upstream)


@pytest.fixture(scope="module")
def gateways() -> Iterator[Gateways]:
    with asyncio.Runner() as runner:
        made = Gateways(runner)
        yield made
        made.close()


def cut(said: bytes, at: Sequence[int]) -> list[bytes]:
    return [said[start:end] for start, end in pairwise((0, *sorted(set(at)), len(said))) if start < end]


@every
def test_the_caller_gets_exactly_the_recorded_events(asked: Transcript, gateways: Gateways) -> None:
    assert gateways.get(asked, [asked.said()]) == asked.expected()


@every
def test_what_is_recorded_keeps_the_rules_of_the_dialect(asked: Transcript, gateways: Gateways) -> None:
    RULES[asked.caller](events(gateways.raw(asked, [asked.said()])), broken=asked.case == "error")


@every
def test_no_transcript_depends_on_where_its_bytes_are_cut(asked: Transcript, gateways: Gateways) -> None:
    """Every byte is a cut once, and once all of them are."""
    said = asked.said()
    for first in range(1, STRIDE + 1):
        assert gateways.get(asked, cut(said, range(first, len(said), STRIDE))) == asked.expected(), first
    assert gateways.get(asked, cut(said, range(len(said)))) == asked.expected()


@pytest.mark.parametrize("asked", SHORT, ids=lambda asked: asked.name)
def test_no_short_transcript_depends_on_any_single_cut(asked: Transcript, gateways: Gateways) -> None:
    said, expected = asked.said(), asked.expected()
    for at in range(1, len(said)):
        assert gateways.get(asked, [said[:at], said[at:]]) == expected, at


@settings(max_examples=300)
@given(asked=st.sampled_from(ALL), data=st.data())
def test_no_transcript_depends_on_random_cuts(asked: Transcript, data: st.DataObject) -> None:
    said = asked.said()
    at = data.draw(st.lists(st.integers(1, len(said) - 1), max_size=40))
    with asyncio.Runner() as runner:
        made = Gateways(runner)
        assert made.get(asked, cut(said, at)) == asked.expected()
        made.close()


@pytest.mark.parametrize("case", ["text", "parallel_tools", "thinking_and_tool", "refusal", "max_tokens"])
def test_claude_in_its_own_dialect_is_passed_on_byte_for_byte(case: str, gateways: Gateways) -> None:
    asked = Transcript("messages", "anthropic", case)
    assert gateways.raw(asked, [asked.said()]) == asked.said()


def test_every_expected_transcript_is_one_of_these() -> None:
    folder = ALL[0].file().parents[1]
    assert {asked.file() for asked in ALL} == set(folder.glob("*/*"))
    assert len(ALL) == 63
