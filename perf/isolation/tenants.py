"""Tenants with canaries: strings that are nobody else's, so that one that turns up says whose it is."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

#: What may stand nowhere but in the request and its answer: a prompt, an answer, a user's name.
HIDDEN = ("prompt", "answer", "person")
#: What rows and logs hold, too, each project's own: names of models that do not exist, ids of requests.
OWN = ("model", "request")
CANARY = re.compile(rb"\b(?:%s)-[0-9a-f]{20}\b" % "|".join((*HIDDEN, *OWN)).encode())
#: Keys are given out once; what stands between the two underscores is public.
SECRET = re.compile(rb"gw_[0-9a-z]+_[0-9a-f]{64}")


@dataclass(slots=True)
class Tenant:
    """A project, one of its keys, and how many rows its requests ought to make."""

    project: str
    key: str = ""
    canaries: dict[str, str] = field(default_factory=dict)
    rows: int = 0

    def __getitem__(self, kind: str) -> str:
        return self.canaries[kind]


class Canaries:
    """Who owns which canary."""

    def __init__(self) -> None:
        self._owners: dict[bytes, Tenant] = {}
        self._keys: dict[bytes, Tenant] = {}

    def tenant(self, number: int) -> Tenant:
        tenant = Tenant(f"tenant-{number:03d}")
        for kind in (*HIDDEN, *OWN):
            tenant.canaries[kind] = canary = f"{kind}-{secrets.token_hex(10)}"
            self._owners[canary.encode()] = tenant
        return tenant

    def has_key(self, tenant: Tenant, key: str) -> None:
        tenant.key = key
        self._keys[key.encode()] = tenant

    def strangers(self, tenant: Tenant | None, *texts: bytes, hidden: bool = True) -> list[str]:
        """What stands in ``texts`` and is not ``tenant``'s. ``hidden``: its own hidden ones may be there."""
        found = []
        for canary in _each(CANARY, texts):
            owner = self._owners.get(canary)
            kind, _, _ = canary.partition(b"-")
            if owner is None:
                found.append(f"{canary.decode()}, which is nobody's")
            elif owner is not tenant or (not hidden and kind.decode() in HIDDEN):
                found.append(f"the {kind.decode()} of {owner.project}")
        found += [
            f"the key of {self._keys[key].project}" for key in _each(SECRET, texts) if key in self._keys
        ]
        return found

    def leaks(self, *texts: bytes) -> list[str]:
        """What stands in ``texts`` (of logs, files, tables) and may stand in none."""
        hidden = [
            f"the {canary.partition(b'-')[0].decode()} of {owner.project}"
            for canary in _each(CANARY, texts)
            if (owner := self._owners.get(canary)) is not None
            and canary.partition(b"-")[0].decode() in HIDDEN
        ]
        keys = [f"the key of {self._keys[key].project}" for key in _each(SECRET, texts) if key in self._keys]
        return hidden + keys


def _each(pattern: re.Pattern[bytes], texts: Iterable[bytes]) -> Iterable[bytes]:
    for text in texts:
        yield from pattern.findall(text)
