"""The golden transcripts: what upstreams wrote (``upstream/``), and what callers then get (``expected/``).

Upstream transcripts are written by hand, in the exact form of the real servers: Anthropic's event stream
with its padding (https://platform.claude.com/docs/en/build-with-claude/streaming), the lines of Ollama
0.33 (``api/types.go``), the chunks of OpenAI (https://platform.openai.com/docs/api-reference/chat-streaming),
with thinking as DeepSeek writes it, since OpenAI shows none.

Expected transcripts hold one event on each line: its name, where the dialect names events, and its JSON.
``python -m tests.providers.golden.record`` writes them; whoever runs it reads the difference.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import orjson

CALLERS = ("chat", "messages", "responses")
UPSTREAMS = ("anthropic", "ollama", "openai")
CASES = (
    "text",
    "parallel_tools",
    "empty_tool",
    "thinking_and_tool",
    "refusal",
    "max_tokens",
    "error",
)

_HERE = Path(__file__).parent
_SUFFIX = {"anthropic": "sse", "ollama": "ndjson", "openai": "sse"}
#: What differs from run to run: times, and the names that are made up where the upstream has none.
_TIMES = re.compile(r'"(created|created_at|completed_at)":\d+(?:\.\d+)?')
MADE_UP = re.compile(r"[0-9a-f]{32}")


class Transcript(NamedTuple):
    """One answer: the dialect of who asks, of who answers, and what happens."""

    caller: str
    upstream: str
    case: str

    @property
    def name(self) -> str:
        return f"{self.caller} from {self.upstream}: {self.case}"

    @property
    def passed_through(self) -> bool:
        """Whether both speak Anthropic's dialect: then nothing is translated."""
        return (self.caller, self.upstream) == ("messages", "anthropic")

    def said(self) -> bytes:
        """What the upstream writes."""
        file = _HERE / "upstream" / self.upstream / f"{self.case}.{_SUFFIX[self.upstream]}"
        return file.read_bytes()

    def file(self) -> Path:
        return _HERE / "expected" / f"{self.caller}_{self.upstream}" / f"{self.case}.txt"

    def expected(self) -> str:
        """What the caller gets, as :func:`rendered`."""
        return self.file().read_text(encoding="utf-8")


ALL = [Transcript(*named) for named in product(CALLERS, UPSTREAMS, CASES)]


class Event(NamedTuple):
    """One event of a stream; ``name`` is empty in chat completions and ``:`` for a comment, ``data`` is the
    text of its JSON."""

    name: str
    data: str

    def body(self) -> Any:
        return orjson.loads(self.data)


def events(stream: bytes) -> list[Event]:
    """The events of ``stream`` and the comments between them; it ends with a blank line."""
    assert stream.endswith(b"\n\n"), stream[-200:]
    found = []
    for frame in stream.decode().split("\n\n"):
        lines = [line for line in frame.split("\n") if line]
        found += [Event(":", line.removeprefix(":").strip()) for line in lines if line.startswith(":")]
        if not (lines := [line for line in lines if not line.startswith(":")]):
            continue  # blank lines between two events mean nothing
        name = lines.pop(0).removeprefix("event: ") if lines[0].startswith("event: ") else ""
        (line,) = lines
        assert line.startswith("data: "), frame
        found.append(Event(name, line.removeprefix("data: ")))
    return found


def rendered(stream: bytes) -> str:
    """``stream`` for people to read, and the same for every run: JSON may be spelt in several ways, and how
    much of a read is copied as the upstream spelt it depends on where its bytes were cut."""
    lines = "".join(f"{event.name} {_spelt(event.data)}".strip() + "\n" for event in events(stream))
    made_up: dict[str, str] = {}
    return MADE_UP.sub(
        lambda found: made_up.setdefault(found[0], f"<made up {len(made_up) + 1}>"),
        _TIMES.sub(r'"\1":0', lines),
    )


def _spelt(data: str) -> str:
    return orjson.dumps(orjson.loads(data)).decode() if data.startswith("{") else data
