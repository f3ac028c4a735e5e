"""Which paths a middleware is responsible for.

Routers disagree about case, doubled slashes and dot segments (BlackSheep, for one, matches without
regard to case). A guard has to be at least as lenient as the most lenient router below it, or
``/Admin`` walks past a rule for ``/admin``: so paths are compared in one canonical form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from posixpath import normpath

#: Characters; longer paths are nobody's route, and a stranger's would fill the memory.
_REMEMBERED_LENGTH = 256
_REMEMBERED = 256


def canonical(path: str) -> str:
    """``path`` in lower case, with doubled slashes, dot segments and a trailing slash removed."""
    path = path.lower()
    if "//" in path or "/." in path:
        path = "/" + normpath(path).lstrip("/")
    return path if len(path) == 1 else path.rstrip("/")


class PathPrefixes:
    """A set of path prefixes; ``/admin`` holds ``/admin`` and ``/admin/usage``, not ``/administrator``.

    ``in`` expects a :func:`canonical` path.
    """

    __slots__ = ("_below", "_exact")

    def __init__(self, prefixes: Iterable[str]) -> None:
        roots = [canonical(prefix).rstrip("/") for prefix in prefixes]
        self._exact = frozenset(root or "/" for root in roots)
        self._below = tuple(root + "/" for root in roots)

    def __contains__(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._below)


def remembered(decide: Callable[[str], bool]) -> Callable[[str], bool]:
    """``decide``, a pure function of a path, with its answers for the latest paths kept.

    A service has a handful of paths and every middleware asks about each request's.
    """
    known = lru_cache(maxsize=_REMEMBERED)(decide)

    def decided(path: str) -> bool:
        return known(path) if len(path) <= _REMEMBERED_LENGTH else decide(path)

    return decided
