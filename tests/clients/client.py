"""What the suite asks of a client: how it is started, and what its own tools are called."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .install import LOCKS, Package

DEV_LOCK = Path(__file__).parents[2] / "requirements-dev.lock"

#: The word that answers bring, so that it cannot be in a client's own output.
ANSWER = "marigold"

Column = Literal["chat", "tools", "thinking", "cache"]


class Shows(NamedTuple):
    """What the suite proves of a client, as the README's table has it.

    ``tools``: *yes*, or *edits* where the client reads edits in the answer's text. ``thinking``: *replayed*
    by the client itself; *restored*, which the gateway does; *dropped* by the client in a dialect that the
    gateway does not rewrite; *shown* where there is no tool call to think before. ``cache``: *kept*, or
    *sends none*.
    """

    chat: Literal["yes"] = "yes"
    tools: Literal["yes", "edits"] = "yes"
    thinking: Literal["replayed", "restored", "dropped", "shown"] = "restored"
    cache: Literal["kept", "sends none"] = "sends none"


class Place(NamedTuple):
    """Where a client runs. ``url``: the gateway without a path; ``folder``: the installed package."""

    url: str
    key: str
    model: str
    home: Path
    project: Path
    folder: Path


class Call(NamedTuple):
    """A call of one of the client's tools, as the model makes it."""

    name: str
    input: dict[str, Any]


@dataclass(frozen=True)
class Client:
    """One program with one way to talk. ``distribution``: its name in its registry."""

    name: str
    distribution: str
    package: Package | None
    endpoint: str
    shows: Shows
    #: Hosts that it asks, in vain and without harm, whatever its settings say.
    wants: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        """As it is locked."""
        return locked_version(self.distribution, self.package)

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def command(self, place: Place, prompt: str) -> list[str]:
        """Writes its settings into ``place.home`` and tells how it is started."""
        raise NotImplementedError

    def environment(self, place: Place) -> Mapping[str, str]:
        """What it needs beside the suite's own clean environment."""
        return {}

    def reads(self, path: Path) -> Call:
        """The call that reads a file."""
        raise NotImplementedError

    def writes(self, path: Path, old: str, new: str) -> Call:
        """The call that makes a file that holds ``old`` hold ``new``."""
        raise NotImplementedError

    def edit(self, path: Path, old: str, new: str) -> str:
        """The answer that changes a file, for a client without tools."""
        raise NotImplementedError


def locked_version(distribution: str, package: Package | None) -> str:
    """The version in the lock of ``package``; without one, in the lock of the project itself."""
    if package is not None and not package.is_python:
        lock = json.loads((LOCKS / package.lock / "package-lock.json").read_text())
        return str(lock["packages"][f"node_modules/{distribution}"]["version"])
    lock = DEV_LOCK if package is None else package.source
    found = re.search(rf"^{re.escape(distribution)}==(\S+)", lock.read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{distribution} is not in {lock.name}")
    return found[1]
