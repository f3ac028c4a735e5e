"""``python -m tests.providers.roundtrip.ten_thousand [COUNT]``: generated conversations before the judges.

Every conversation is translated for the upstream and sent to it by the real adapter; one refusal too many is
an error, with the words of the judge and the seed of the conversation.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from itertools import product

from .judges import Court, Refused
from .render import RENDERED, SIGNER
from .talks import talk_for

DIALECTS = ("chat", "messages", "responses")
UPSTREAMS = ("anthropic", "ollama", "openai")


async def accept(dialect: str, upstream: str, seeds: Iterable[int]) -> int:
    """Have the judge of ``upstream`` hear the conversations of ``seeds``; how often it has refused, where the
    adapter then found another way to ask. Raises :class:`.judges.Refused` for the first that it did not."""
    court = Court(upstream)
    bound = upstream == "anthropic" and dialect != "chat"  # what is signed is for one model
    try:
        for seed in seeds:
            talk = talk_for(upstream, dialect, seed)
            try:
                await court.hear(dialect, RENDERED[dialect](talk), model=SIGNER if bound and seed % 2 else "")
            except Refused as refused:
                refused.add_note(f"{dialect} to {upstream}, seed {seed}")
                raise
        return court.judge.refused
    finally:
        await court.aclose()


async def main(count: int) -> None:
    began = time.perf_counter()
    for dialect, upstream in product(DIALECTS, UPSTREAMS):
        start = time.perf_counter()
        refused = await accept(dialect, upstream, range(count))
        seconds = time.perf_counter() - start
        print(
            f"| {dialect} | {upstream} | {count:,} | {count - refused:,} | {refused} | {seconds:.1f} s |",
            flush=True,
        )
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
