"""Lists of names in which ``*`` stands for any characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a name is one of ``patterns``, upper and lower case told apart. Linear in the name."""
    exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
    # Of what fnmatch knows only the star is meant; its expressions do not backtrack.
    literal = (re.sub(r"([\[?])", r"[\1]", pattern) for pattern in patterns if "*" in pattern)
    matches = re.compile("|".join(map(translate, literal)) or r"(?!)").match

    def matched(name: str) -> bool:
        return name in exact or matches(name) is not None

    return matched
