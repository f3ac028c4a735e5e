"""Isolation: with many projects at once, nothing of one is ever seen by another, nor left anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from gw.settings import Ledger
from perf.isolation.run import isolation
from perf.isolation.tenants import Canaries
from perf.isolation.traffic import pieces

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.timeout(240)
def test_nothing_of_one_project_is_ever_seen_by_another(database: Ledger) -> None:
    result = isolation(requests=1500, connections=32, database_url=database.database, reports=20)
    assert result.problems == []
    assert result.requests >= 1500
    # Not for want of answers: most of them hold the canary of the project that asked.
    assert result.heard > 1000
    assert result.rows > 1300


def test_a_canary_is_found_wherever_it_stands(tmp_path: Path) -> None:
    canaries = Canaries()
    ours, theirs = canaries.tenant(0), canaries.tenant(1)
    canaries.has_key(theirs, f"gw_{'0' * 18}_{'a' * 64}")
    assert canaries.strangers(ours, ours["answer"].encode(), ours["model"].encode()) == []
    assert canaries.strangers(ours, f'{{"x":"{theirs["answer"]}"}}'.encode()) == ["the answer of tenant-001"]
    assert canaries.strangers(ours, theirs.key.encode()) == ["the key of tenant-001"]
    assert canaries.leaks(ours["prompt"].encode(), ours["request"].encode()) == ["the prompt of tenant-000"]
    first, second = theirs["answer"][:9], theirs["answer"][9:]
    for streamed in (
        f'data: {{"choices":[{{"delta":{{"content":"{first}"}}}}]}}\n\n'
        f'data: {{"choices":[{{"delta":{{"content":"{second}"}}}}]}}\n\ndata: [DONE]\n\n',
        f'event: content_block_delta\ndata: {{"delta":{{"type":"text_delta","text":"{first}"}}}}\n\n'
        f'data: {{"delta":{{"type":"text_delta","text":"{second}"}}}}\n\n',
        f'data: {{"type":"response.output_text.delta","delta":"{first}"}}\n\n'
        f'data: {{"type":"response.output_text.delta","delta":"{second}"}}\n\n',
    ):
        assert canaries.strangers(ours, streamed.encode()) == []
        assert canaries.strangers(ours, pieces(streamed.encode())) == ["the answer of tenant-001"]
