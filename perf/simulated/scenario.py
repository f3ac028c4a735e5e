"""Scenarios: how one answer of the simulated upstream differs from a good one.

Three ways in, the same fields: ``SimulatedUpstream.script(Scenario(...))``, ``POST /_sim/script`` with a
JSON list, and a directive in the last user text, ``[sim tokens=200 delay_ms=5 fault=reset after=3]``
(values with spaces in quotes), which also works when many clients share one upstream.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from .when import When, when_from_json

Fault = Literal[
    "hang",  # the request is read and never answered
    "drop",  # the connection closes without a byte of an answer, as in a keep-alive race
    "bad_http",  # the answer is not HTTP
    "reset",  # TCP reset (RST) after `after` events
    "cut",  # the connection closes (FIN) in the middle of the body
    "truncate",  # the body ends as HTTP wants, but without message_stop
    "stall",  # nothing more comes, the connection stays open
    "error",  # an `error` event, then the end
    "bad_json",  # an event whose data is not JSON
    "bad_utf8",  # an event whose data is not UTF-8
    "unknown_event",  # an event type of the future; clients skip it
]
Framing = Literal["chunked", "close", "length"]

ANY = When()


@dataclass(slots=True, frozen=True, kw_only=True)
class Scenario:
    """One scripted answer. Times are milliseconds, ``after`` counts events.

    ``after`` defaults to just behind the first delta, for ``truncate`` and ``cut`` to just before
    ``message_stop``. A status of 400 or more answers with the API's error envelope, or with ``body``
    as it stands. Without ``text``, ``tokens`` or ``blocks`` the reply is the planned one. ``when``: the
    answer waits for a request of which this holds, and lets others pass.
    """

    path: str = "/v1/messages"
    when: When = ANY
    strict: bool = True
    hold_ms: float = 0
    # An error status instead of an answer.
    status: int = 200
    error_type: str | None = None
    message: str | None = None
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    # What is said.
    text: str | None = None
    tokens: int | None = None
    blocks: Sequence[Mapping[str, Any]] | None = None
    stop_reason: str | None = None
    stop_details: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None
    # How it is written.
    delay_ms: float = 0
    coalesce: bool | None = None
    split: int = 0
    framing: Framing = "chunked"
    fault: Fault | None = None
    after: int | None = None

    def __post_init__(self) -> None:
        if self.fault is not None and self.fault not in get_args(Fault):
            raise ValueError(f"fault: {self.fault!r} is not one of {', '.join(get_args(Fault))}")
        if self.framing not in get_args(Framing):
            raise ValueError(f"framing: {self.framing!r} is not one of {', '.join(get_args(Framing))}")
        for name in ("hold_ms", "delay_ms", "split", "tokens", "after"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name}: must not be negative")


PLAIN = Scenario()

_DIRECTIVE = re.compile(r"\[sim\b([^\]]*)\]")
_NAMES = frozenset(item.name for item in fields(Scenario))
_NUMBERS = frozenset({"hold_ms", "retry_after", "delay_ms"})
_INTEGERS = frozenset({"status", "tokens", "split", "after"})
_FLAGS = frozenset({"strict", "coalesce"})


def from_json(value: Any) -> Scenario:
    """A scenario from its JSON object. Raises ``ValueError`` naming what is wrong."""
    if not isinstance(value, dict):
        raise ValueError("a scenario is a JSON object")  # noqa: TRY004 - one kind of error for callers
    unknown = value.keys() - _NAMES
    if unknown:
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
    if "when" in value:
        value = {**value, "when": when_from_json(value["when"])}
    try:
        return Scenario(**value)
    except TypeError as error:
        raise ValueError(str(error)) from None


def directive(text: str) -> Scenario | None:
    """The scenario that the first ``[sim …]`` of ``text`` asks for; None without one.

    Raises ``ValueError`` when there is one that cannot be understood.
    """
    match = _DIRECTIVE.search(text)
    if match is None:
        return None
    values: dict[str, Any] = {}
    for word in shlex.split(match[1]):
        name, _, value = word.partition("=")
        if name not in _NAMES:
            raise ValueError(f"[sim …]: unknown field {name!r}")
        if name in _INTEGERS:
            values[name] = int(value)
        elif name in _NUMBERS:
            values[name] = float(value)
        elif name in _FLAGS:
            values[name] = value.lower() in ("", "1", "true", "yes")
        else:
            values[name] = value
    return from_json(values)
