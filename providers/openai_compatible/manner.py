"""How one upstream model wants to be asked, and what is remembered of it.

Servers of this API differ in what they take, and none of them says so anywhere but in a refusal. A request
goes up as it came. Where the refusal is about the manner of asking (:mod:`.refusals`), it is asked once more
in another, and what helped is remembered for the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

#: The two names of one parameter: OpenAI's reasoning models refuse the first, older servers do not know
#: the second (https://platform.openai.com/docs/api-reference/chat/create).
LIMITS = ("max_tokens", "max_completion_tokens")
#: Seconds for which a refusal is remembered.
REMEMBERED = 3600.0
#: How often one chat is asked: a caller may think of any number of parameters, each refused on its own. An
#: agent's first request to the strictest template needs ten.
MAX_ASKED = 12
#: Models of one upstream of which something is remembered, and names of parameters or keywords of one model.
_MAX_LEARNT = 1024
_MAX_NAMES = 32

Streams = Literal["always", "without_tools", "never"]


@dataclass(slots=True, frozen=True)
class Manner:
    """A model as it is known so far; the defaults ask as the caller does.

    *Limits.* ``limit``: the one of :data:`LIMITS` that the model takes; None: the caller's. ``most``: the
    most tokens that it writes; ``window``: prompt and answer together; ``room``: what the prompt of this
    conversation leaves of it, which is not remembered. ``roomy`` is false
    when a raised default was too much for the model; ``crowded``: for this conversation, not remembered.

    *Streams.* ``stream_options``: it takes them; ``streams``: when it streams at all.

    *Messages.* ``tidy``: tools and the history of their calls must be in perfect order. ``strings``: content
    is a text, never a list of them. ``developer``, ``system``: it knows that role; ``late_system``: behind
    the first message too; ``any_order``: roles need not alternate. ``say_json``: the word JSON must be said
    for ``json_object``.

    *Tools.* ``functions_only``: custom tools are carried as functions. ``short_names``: names as OpenAI takes
    them. ``named_choice``: ``tool_choice`` may be an object. ``strict``: it knows that word.
    ``keywords``: those of JSON schemas that it does not take.

    *Parameters.* ``efforts``: the values of ``reasoning_effort`` that it takes; None: all. ``without``:
    parameters that it does not take; ``once``: those whose value it does not, which are not remembered.
    """

    limit: str | None = None
    most: int | None = None
    window: int | None = None
    room: int | None = None
    roomy: bool = True
    crowded: bool = False
    stream_options: bool = True
    streams: Streams = "always"
    tidy: bool = False
    strings: bool = False
    developer: bool = True
    system: bool = True
    late_system: bool = True
    any_order: bool = True
    say_json: bool = False
    functions_only: bool = False
    short_names: bool = False
    named_choice: bool = True
    strict: bool = True
    keywords: frozenset[str] = frozenset()
    efforts: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    once: frozenset[str] = frozenset()


#: Of a model of which nothing was learnt.
USUAL = Manner()


class Manners:
    """What was learnt of each model; bounded, the oldest is forgotten first, and everything in time: the
    server may have been replaced by a newer one. ``now`` is a clock in seconds."""

    __slots__ = ("_learnt", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._learnt: dict[str, tuple[Manner, float]] = {}

    def __len__(self) -> int:
        return len(self._learnt)

    def get(self, model: str) -> Manner:
        learnt = self._learnt.get(model)
        if learnt is None:
            return USUAL
        manner, until = learnt
        if self._now() < until:
            return manner
        del self._learnt[model]
        return USUAL

    def learn(self, model: str, manner: Manner) -> None:
        if len(self._learnt) >= _MAX_LEARNT and model not in self._learnt:
            del self._learnt[next(iter(self._learnt))]
        # Names come from callers, who may think of any number of them.
        without = manner.without if len(manner.without) <= _MAX_NAMES else frozenset[str]()
        kept = replace(manner, without=without, once=frozenset(), crowded=False, room=None)
        if kept != USUAL:
            self._learnt[model] = (kept, self._now() + REMEMBERED)


def with_step(sure: Manner, before: Manner, after: Manner) -> Manner:
    """``sure`` with the one thing that is otherwise in ``after`` than in ``before``."""
    step: dict[str, Any] = {
        field.name: getattr(after, field.name)
        for field in fields(after)
        if getattr(after, field.name) != getattr(before, field.name)
    }
    for name in step.keys() & {"without", "once", "keywords"}:
        step[name] = getattr(sure, name) | (step[name] - getattr(before, name))
    return replace(sure, **step)
