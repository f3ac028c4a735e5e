"""``reasoning_effort``: what a server says that a model takes of it, and which of that comes nearest."""

from __future__ import annotations

import re
from typing import Any

from ..errors import BadRequest
from ..translate.params import EFFORTS
from .manner import Manner

#: Least first (https://platform.openai.com/docs/api-reference/chat/create).
LEVELS = ("none", "minimal", *EFFORTS)

_ABOUT = re.compile(r"reasoning[_. ]?effort", re.IGNORECASE)
#: Where the values begin that would have been taken. OpenAI: "Supported values are: 'low' and 'high'."; Groq:
#: "must be one of `none` or `default`"; DeepSeek: "unknown variant `max`, expected one of `low`, `high`";
#: FastAPI: "Input should be 'low' or 'high'".
_LISTED = re.compile(
    r"(?:values?(?: are| is)?|one of|should be|must be|expected|supports|accepts|allows|only)\b[: ]",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"""['"`\s,](none|minimal|low|medium|high|xhigh|max|default)\b""")


def accepted(sent: Any, manner: Manner, error: BadRequest) -> frozenset[str] | None:
    """The levels that ``error`` says the model takes, instead of ``sent``; None when it does not say."""
    if sent not in LEVELS or not _ABOUT.search(f"{error.param} {error.message}"):
        return None
    found = list(_LISTED.finditer(error.message))
    if found:
        # Behind the last such words: in front of them stands what was refused.
        for start in reversed(found):
            if listed := frozenset(_LEVEL.findall(error.message, start.end() - 1)) - {sent}:
                return frozenset(listed & set(LEVELS))
    if re.search(rf"""['"`]{sent}['"`]""", error.message) is None:
        return None
    return (manner.efforts or frozenset(LEVELS)) - {sent}


def nearest(level: Any, taken: frozenset[str]) -> Any:
    """The one of ``taken`` nearest to ``level``, the lower of two; None when only ``none`` is left, which
    would turn thinking off: leaving it out does not. What is no level stays as it is."""
    if level not in LEVELS or level in taken:
        return level
    choice = [other for other in LEVELS if other in taken and other != "none"]
    rank = LEVELS.index(level)
    return min(choice, key=lambda other: abs(LEVELS.index(other) - rank), default=None)
