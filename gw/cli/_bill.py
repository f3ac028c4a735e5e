"""A bill: sums over the ledger as a table, as JSON and as CSV. What nobody knows is never shown as 0."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..projects.types import NANO, dollars, iso
from ._table import printable, table

if TYPE_CHECKING:
    from ..store.reports import Money, Saved, Usage

LAYER = "layer"
#: What of a sum is given as it is, in JSON and CSV.
_COUNTS = (
    "requests",
    "streams",
    "errors",
    "aborted",
    "estimated",
    "cache_hits",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
)
#: Four decimals are what a hundred tokens of a small model cost.
_SHOWN = Decimal("0.0001")


@dataclass(slots=True, frozen=True)
class Bill:
    """``rows`` are grouped by ``by`` without ``layer``; ``unpriced`` names models without a known price."""

    since: datetime
    until: datetime
    by: tuple[str, ...]
    rows: tuple[Usage, ...]
    unpriced: tuple[str, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(name for name in self.by if name != LAYER)

    def by_layer(self) -> list[Layer]:
        """What each layer saved in each group, or in all where it is asked for alone."""
        sums: dict[tuple[str, ...], Layer] = {}
        wanted = LAYER in self.by
        for row in self.rows:
            for saved in row.saved:
                group = row.group if wanted else ()
                key = (*group, saved.layer)
                sums[key] = Layer.sum_of(key, sums.get(key), saved)
        return list(sums.values())


@dataclass(slots=True, frozen=True)
class Layer:
    """``group`` ends with the layer's name; ``tokens`` are estimated."""

    group: tuple[str, ...]
    requests: int
    tokens: int
    nano: int | None
    unknown: int

    @classmethod
    def sum_of(cls, group: tuple[str, ...], before: Layer | None, saved: Saved) -> Layer:
        old = before or cls(group, 0, 0, None, 0)
        nano, unknown = total([(old.nano, old.unknown), _pair(saved.saved)])
        return cls(group, old.requests + saved.requests, old.tokens + saved.tokens, nano, unknown)


Amount = tuple["int | None", int]


def total(amounts: Iterable[Amount]) -> Amount:
    """Known nano-dollars (None: nothing is known) and how many amounts are not."""
    every = list(amounts)
    known = [nano for nano, _ in every if nano is not None]
    return sum(known) if known else None, sum(unknown for _, unknown in every)


def saved_in(row: Usage) -> Amount:
    """What all layers saved in ``row``; 0 where none had anything to do."""
    return total(_pair(one.saved) for one in row.saved) if row.saved else (0, 0)


def as_text(bill: Bill) -> str:
    title = f"Usage from {_moment(bill.since)} to {_moment(bill.until)} (UTC)"
    if not bill.rows or not sum(row.requests for row in bill.rows):
        return f"{title}\n\nNo requests."
    parts = [title]
    layers = bill.by_layer()
    if bill.groups or LAYER not in bill.by:
        parts.append(_usage_table(bill))
    if layers:
        parts.append(_layer_table(bill, layers))
    elif LAYER in bill.by:
        parts.append("No layer has saved anything.")
    parts += _notes(bill)
    return "\n\n".join(parts)


def as_json(bill: Bill) -> dict[str, Any]:
    """Dollars are exact texts; null where nothing is known, with the number of requests that are not."""
    return {
        "since": iso(bill.since),
        "until": iso(bill.until),
        "by": list(bill.by),
        "usage": [_record(bill, row) for row in bill.rows],
        "layers": [_layer_record(bill, layer) for layer in bill.by_layer()],
        "total": {
            **{name: sum(getattr(row, name) for row in bill.rows) for name in _COUNTS},
            **_money(total(_pair(row.cost) for row in bill.rows), "cost"),
            **_money(total(_pair(row.counterfactual) for row in bill.rows), "without_gateway"),
            **_money(total(map(saved_in, bill.rows)), "saved"),
        },
        "models_without_price": list(bill.unpriced),
    }


def as_csv(bill: Bill) -> str:
    """One line for each group (and layer); unknown is an empty cell."""
    from ..routes.admin.sheet import table as sheet

    if LAYER in bill.by:
        records = [_layer_record(bill, layer) for layer in bill.by_layer()]
        last = ("requests", "tokens", "saved_usd", "saved_unknown")
        return sheet((*bill.groups, LAYER, *last), records).decode()
    money = ("cost", "without_gateway", "saved")
    columns = (*bill.groups, *_COUNTS, *(f"{m}_{s}" for m in money for s in ("usd", "unknown")))
    return sheet(columns, [_record(bill, row) for row in bill.rows]).decode()


def _usage_table(bill: Bill) -> str:
    head = (*bill.groups, "requests", "input", "cache\nread", "cache\nwrite", "output")
    money = ("cost", "saved", "without\ngateway")
    rows = [[*(value or "-" for value in row.group), *_cells([row])] for row in bill.rows]
    names = ["total", *("" for _ in bill.groups[1:])] if bill.groups else []
    return table((*head, *money), rows, [*names, *_cells(bill.rows)] if bill.groups else None)


def _cells(rows: Sequence[Usage]) -> list[str]:
    written = sum(row.cache_write_5m_tokens + row.cache_write_1h_tokens for row in rows)
    counts = [sum(getattr(row, name) for row in rows) for name in ("requests", "input_tokens")]
    counts += [sum(row.cache_read_tokens for row in rows), written, sum(row.output_tokens for row in rows)]
    amounts = (
        total(_pair(row.cost) for row in rows),
        total(map(saved_in, rows)),
        total(_pair(row.counterfactual) for row in rows),
    )
    return [*(f"{count:,}" for count in counts), *map(shown, amounts)]


def _layer_table(bill: Bill, layers: Sequence[Layer]) -> str:
    groups = bill.groups if LAYER in bill.by else ()
    rows = [
        [
            *(value or "-" for value in one.group),
            *_layer_cells(one.requests, one.tokens, one.nano, one.unknown),
        ]
        for one in layers
    ]
    nano, unknown = total((one.nano, one.unknown) for one in layers)
    sums = _layer_cells(sum(one.requests for one in layers), sum(one.tokens for one in layers), nano, unknown)
    sums[0] = ""  # a request in which two layers saved something would count twice
    names = ["total", *("" for _ in groups)]
    return table((*groups, "saved by layer", "requests", "tokens, about", "saved"), rows, [*names, *sums])


def _layer_cells(requests: int, tokens: int, nano: int | None, unknown: int) -> list[str]:
    return [f"{requests:,}", f"{tokens:,}", shown((nano, unknown))]


def _notes(bill: Bill) -> list[str]:
    notes = []
    unknown = sum(row.cost.unknown for row in bill.rows)
    if unknown:
        models = ", ".join(map(printable, bill.unpriced))
        notes.append(
            f"? stands for {_requests(unknown)} whose price is not known ({models}): see PRICES_FILE."
        )
    estimated = sum(row.estimated for row in bill.rows)
    if estimated:
        notes.append(f"In {_requests(estimated)} tokens are estimated: nobody has reported them.")
    return notes


def _requests(count: int) -> str:
    return f"{count:,} request" + ("" if count == 1 else "s")


def shown(amount: Amount) -> str:
    """Dollars with four decimals; ``?`` for what is not known."""
    nano, unknown = amount
    if nano is None:
        return "?" if unknown else "$0.0000"
    value = Decimal(nano) / NANO
    rounded = value.quantize(_SHOWN)
    text = "<$0.0001" if value > 0 and not rounded else f"${rounded:,}"
    return f"{text} + ?" if unknown else text


def _record(bill: Bill, row: Usage) -> dict[str, Any]:
    return {
        **dict(zip(bill.groups, row.group, strict=True)),
        **{name: getattr(row, name) for name in _COUNTS},
        **_money(_pair(row.cost), "cost"),
        **_money(_pair(row.counterfactual), "without_gateway"),
        **_money(saved_in(row), "saved"),
    }


def _layer_record(bill: Bill, layer: Layer) -> dict[str, Any]:
    names = (*bill.groups, LAYER) if LAYER in bill.by else (LAYER,)
    return {
        **dict(zip(names, layer.group, strict=True)),
        "requests": layer.requests,
        "tokens": layer.tokens,
        **_money((layer.nano, layer.unknown), "saved"),
    }


def _money(amount: Amount, name: str) -> dict[str, Any]:
    nano, unknown = amount
    # No requests have cost nothing, and that is known.
    return {f"{name}_usd": dollars(nano if nano is not None or unknown else 0), f"{name}_unknown": unknown}


def _pair(money: Money) -> Amount:
    return money.nano, money.unknown


def _moment(moment: datetime) -> str:
    text = moment.strftime("%Y-%m-%d %H:%M")
    return text.removesuffix(" 00:00")
