"""The operator's own prices (``PRICES_FILE``): what the published ones lack, or have wrong.

The format with an example: docs/prices.md. Every mistake is named with its place in the file.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import translate
from itertools import chain
from pathlib import Path
from typing import Any

from .rates import Prices, Rates, level

_CLASSES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "reasoning")
_NEEDED = _CLASSES[:2]
_ENTRY = frozenset(
    {"provider", "model", "from", "usd_per_mtok", "usd_per_request", "usd_per_search", "tiers"}
)
_TIER = frozenset({"above_prompt_tokens", "usd_per_mtok"})
#: Dollars for a million tokens, or for one request or search: above it the unit is mistaken.
_MOST = 100_000
#: Digits behind the point: a millionth of a nano-dollar per token.
_PLACES = 9
#: Bytes; a file of prices is not larger.
_MAX_BYTES = 2**20
#: Characters of a wrong name that are said again.
_MAX_SHOWN = 64


class PricesError(ValueError):
    """``PRICES_FILE`` cannot be used; ``problems`` holds one sentence each, naming the place and the fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(slots=True, frozen=True)
class Override:
    """One entry: the prices of ``provider``'s models that match, from midnight (UTC) of ``begins``. ``model``
    is what it calls them, in lower case; ``place`` is where it stands in the file."""

    provider: str
    model: str
    pattern: re.Pattern[str]
    begins: date
    rates: Rates
    place: str

    @property
    def shown(self) -> str:
        """What it is for, as problems say it."""
        since = "" if self.begins == date.min else f" from {self.begins}"
        return f"{self.provider} {self.model[:_MAX_SHOWN]!r}{since}"

    def covers(self, provider: str, model: str, day: date) -> bool:
        """Whether it holds for ``model`` on ``day``."""
        return (
            self.provider in (provider, "*")
            and self.begins <= day
            and bool(self.pattern.fullmatch(model.lower()))
        )


def read(path: Path, providers: Collection[str]) -> list[Override]:
    """The entries of the file, in order. ``providers``: the names that there are, beside ``*``. Raises
    :class:`PricesError`."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise PricesError(
            [f"PRICES_FILE={str(path)!r} cannot be read: {error.strerror}. Correct the path, or unset it."]
        ) from None
    if len(raw) > _MAX_BYTES:
        raise PricesError(
            [f"PRICES_FILE={str(path)!r} is larger than {_MAX_BYTES} bytes: it is no price list."]
        )
    try:
        value = json.loads(
            raw,
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_no_number,
            object_pairs_hook=_Object,
        )
    except (ValueError, RecursionError) as error:
        raise PricesError([f"PRICES_FILE={str(path)!r} is not JSON: {error}."]) from None
    reader = _Reader(f"PRICES_FILE={str(path)!r}", providers)
    found = reader.entries(value)
    reader.compare(found)
    if reader.problems:
        raise PricesError(reader.problems)
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


class _Object(dict[str, Any]):
    """A JSON object; ``twice``: its names that are there more than once, of which JSON keeps the last."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


class _Reader:
    """Reads what was parsed, and collects what is wrong with it."""

    def __init__(self, file: str, providers: Collection[str]) -> None:
        self._file = file
        self._providers = sorted(providers)
        self.problems: list[str] = []

    def entries(self, value: object) -> list[Override]:
        listed = value.get("prices") if isinstance(value, Mapping) and set(value) == {"prices"} else None
        if not isinstance(listed, list):
            self._wrong("the file", 'must be {"prices": [ … ]}, as in docs/prices.md')
            return []
        self._once(value, "the file")
        found = [self._entry(entry, f"prices[{index}]") for index, entry in enumerate(listed)]
        return [entry for entry in found if entry is not None]

    def compare(self, entries: list[Override]) -> None:
        """Entries that another one makes useless are a mistake, whichever of the two was meant."""
        for entry, below in _hidden(entries):
            if (entry.provider, entry.model, entry.begins) == (below.provider, below.model, below.begins):
                why = f"it is there once more as {below.place}. Remove one of the two, or correct its model; "
                why += 'a change of price needs a "from"'
            else:
                why = f"{below.place} ({below.shown}) stands below it and holds for all of it. Remove one of "
                why += "the two, or put the one that is for fewer models, or begins later, below the other"
            self._wrong(entry.place, f"({entry.shown}) never holds: {why}")

    def _wrong(self, place: str, what: str) -> None:
        self.problems.append(f"{self._file}: {place} {what}.")

    def _entry(self, value: object, place: str) -> Override | None:
        before = len(self.problems)
        entry = self._object(value, place, _ENTRY)
        if entry is None:
            return None
        provider = self._provider(entry.get("provider"), f"{place}.provider")
        model = self._text(entry.get("model"), f"{place}.model", 'a model\'s name, "*" standing for anything')
        begins = self._date(entry.get("from"), f"{place}.from")
        base = self._prices(entry.get("usd_per_mtok"), f"{place}.usd_per_mtok", 0)
        fixed, search = (
            self._money(entry.get(name, Decimal(0)), f"{place}.{name}")
            for name in ("usd_per_request", "usd_per_search")
        )
        tiers = self._tiers(entry.get("tiers", []), f"{place}.tiers")
        if base is None or len(self.problems) > before:
            return None
        # Only the asterisk is special: a bracket may stand in a name.
        model = model.lower()
        pattern = re.compile(translate(re.sub(r"([\[?])", r"[\1]", model)))
        rates = Rates(base, tiers, per_request=fixed, per_search=search)
        return Override(provider, model, pattern, begins, rates, place)

    def _provider(self, value: object, place: str) -> str:
        name = self._text(value, place, 'a provider\'s name, or "*"')
        if name and name != "*" and name not in self._providers:
            alike = get_close_matches(name.lower(), self._providers, n=1)
            meant = f"Did you mean {alike[0]!r}? " if alike else ""
            self._wrong(
                place,
                f"is {name[:_MAX_SHOWN]!r}, and there is no such provider. {meant}Known: "
                f'{", ".join(self._providers)} and "*"; others by the <name> of an '
                "OPENAI_COMPATIBLE_<NAME>_BASE_URL that is set",
            )
        return name

    def _tiers(self, value: object, place: str) -> list[Prices]:
        if not isinstance(value, list):
            self._wrong(place, "must be a list")
            return []
        found: list[Prices] = []
        for index, item in enumerate(value):
            here = f"{place}[{index}]"
            tier = self._object(item, here, _TIER)
            if tier is None:
                continue
            above = tier.get("above_prompt_tokens")
            if not isinstance(above, Decimal) or above != int(above) or not 0 < above <= 10**9:
                self._wrong(f"{here}.above_prompt_tokens", "must be a whole number of tokens above 0")
                continue
            if int(above) in [one.above for one in found]:
                self._wrong(f"{here}.above_prompt_tokens", "is there twice")
            prices = self._prices(tier.get("usd_per_mtok"), f"{here}.usd_per_mtok", int(above))
            found += [] if prices is None else [prices]
        return found

    def _prices(self, value: object, place: str, above: int) -> Prices | None:
        before = len(self.problems)
        given = self._object(value, place, frozenset(_CLASSES))
        if given is None:
            return None
        for name in _NEEDED:
            if name not in given:
                self._wrong(f"{place}.{name}", "is missing: dollars for a million tokens, 0 where it is free")
        prices = {name: self._money(price, f"{place}.{name}") for name, price in given.items()}
        return level(prices, above) if len(self.problems) == before else None

    def _money(self, value: object, place: str) -> Decimal:
        if not isinstance(value, Decimal) or not 0 <= value <= _MOST or value != round(value, _PLACES):
            limits = f"between 0 and {_MOST:,}, with at most {_PLACES} digits behind the point"
            self._wrong(place, f"must be a number of dollars {limits}")
            return Decimal(0)
        return value

    def _date(self, value: object, place: str) -> date:
        if value is None:
            return date.min
        try:
            return date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else date(0, 0, 0)
        except ValueError:
            self._wrong(place, 'must be a day such as "2026-11-23" (from 0:00 UTC on)')
            return date.min

    def _text(self, value: object, place: str, what: str) -> str:
        if isinstance(value, str) and value.strip():
            return value.strip()
        self._wrong(place, f"must be {what}")
        return ""

    def _object(self, value: object, place: str, known: frozenset[str]) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            self._wrong(place, "must be an object" if value is not None else "is missing")
            return None
        self._once(value, place)
        for name in value.keys() - known:
            self._wrong(f"{place}.{name}", f"is not known here; known: {', '.join(sorted(known))}")
        return {name: item for name, item in value.items() if name in known}

    def _once(self, value: object, place: str) -> None:
        for name in value.twice if isinstance(value, _Object) else ():
            self._wrong(f"{place}.{name}", "is there twice: remove one of them")


def _hidden(entries: list[Override]) -> Iterator[tuple[Override, Override]]:
    """Each entry that can never hold, with the one below it that always holds in its place."""
    named: defaultdict[str, list[Override]] = defaultdict(list)
    general: list[Override] = []
    for entry in reversed(entries):
        # What has the asterisk of a name for any other character, too, covers all that the name stands for.
        for below in chain(named[entry.model], general):
            if below.covers(entry.provider, entry.model, entry.begins):
                yield entry, below
                break
        (general if "*" in entry.model else named[entry.model]).append(entry)
