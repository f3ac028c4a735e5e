"""``python -m tests.providers.golden.record``: write the expected transcripts as they are now.

The result is no proof of anything until somebody has read what changed.
"""

from __future__ import annotations

import asyncio
import sys

from .gateway import Gateway
from .transcripts import ALL, UPSTREAMS, rendered


async def record() -> int:
    """How many transcripts are written anew."""
    changed = 0
    for upstream in UPSTREAMS:
        gateway = Gateway(upstream)
        for asked in (transcript for transcript in ALL if transcript.upstream == upstream):
            text = rendered(await gateway.stream(asked, [asked.said()]))
            file = asked.file()
            if not file.exists() or asked.expected() != text:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
                print(asked.name)
                changed += 1
        await gateway.aclose()
    return changed


if __name__ == "__main__":
    print(f"{asyncio.run(record())} transcripts written")
    sys.exit(0)
