"""A bill: sums over the ledger as a table, as JSON and as CSV. What nobody knows is never shown as 0."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..projects.types import NANO, iso
from ..wire import COUNTS, LAYER, TOKENS, layer_row, total_row, usage_row
from ._table import printable, table

if TYPE_CHECKING:
    from ..store.reports import Money, Saved, Usage

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
    #: Whose it is alone; None: everybody's.
    project: str | None = None
    key: str | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(name for name in self.by if name != LAYER)

    def by_layer(self) -> list[Saved]:
        """What each layer saved in each group, in the order of the rows."""
        return [saved for row in self.rows for saved in row.saved]

    def total(self) -> Usage:
        """The sum of all rows, with what each layer saved in them."""
        from ..store.reports import Money, Spread, Usage

        nothing = Spread(None)
        return Usage(
            group=(),
            **{name: sum(getattr(row, name) for row in self.rows) for name in (*COUNTS, *TOKENS)},
            cost=Money(*total(_pair(row.cost) for row in self.rows)),
            counterfactual=Money(*total(_pair(row.counterfactual) for row in self.rows)),
            duration=nothing,
            ttft=nothing,
            saved=tuple(_added_up(self.by_layer())),
        )


def _added_up(every: Iterable[Saved]) -> list[Saved]:
    """One for each layer, by name."""
    from ..store.reports import Money, Saved

    layers: dict[str, list[Saved]] = {}
    for one in every:
        layers.setdefault(one.layer, []).append(one)
    return [
        Saved(
            (),
            layer,
            sum(one.requests for one in parts),
            sum(one.tokens for one in parts),
            Money(*total(_pair(one.saved) for one in parts)),
        )
        for layer, parts in sorted(layers.items())
    ]


Amount = tuple["int | None", int]


def total(amounts: Iterable[Amount]) -> Amount:
    """Known nano-dollars and how many amounts are not known; None where none is. No requests have cost
    nothing, and that is known."""
    every = list(amounts)
    known = [nano for nano, _ in every if nano is not None]
    unknown = sum(unknown for _, unknown in every)
    return sum(known) if known or not unknown else None, unknown


def saved_in(row: Usage) -> Amount:
    """What all layers saved in ``row``."""
    return total(_pair(one.saved) for one in row.saved)


def as_text(bill: Bill) -> str:
    whose = [
        f"{what} {one}" for what, one in (("project", bill.project), ("key", bill.key)) if one is not None
    ]
    of = "".join(f" of {printable(one)}" for one in whose)
    title = f"Usage{of} from {_moment(bill.since)} to {_moment(bill.until)} (UTC)"
    if not bill.rows or not sum(row.requests for row in bill.rows):
        return f"{title}\n\nNo requests{of}."
    parts = [title]
    layers = bill.by_layer() if LAYER in bill.by and bill.groups else bill.total().saved
    if bill.groups or LAYER not in bill.by:
        parts.append(_usage_table(bill))
    if layers:
        parts.append(_layer_table(bill, layers))
    elif LAYER in bill.by:
        parts.append("No layer has saved anything.")
    parts += _notes(bill)
    return "\n\n".join(parts)


def as_json(bill: Bill) -> dict[str, Any]:
    """Rows and names are those of ``GET /admin/usage``; ``total`` is their sum, whose dollars leave
    ``models_without_price`` out."""
    return {
        "from": iso(bill.since),
        "to": iso(bill.until),
        "group_by": list(bill.by),
        "rows": _records(bill),
        "total": total_row(bill.total()),
        "models_without_price": list(bill.unpriced),
    }


def as_csv(bill: Bill) -> str:
    """The columns of ``GET /admin/usage?format=csv``; unknown is an empty cell."""
    from ..routes.admin.rows import LAYERS, USAGE, flat
    from ..routes.admin.sheet import table as sheet

    return sheet((*bill.groups, *flat(LAYERS if LAYER in bill.by else USAGE)), _records(bill)).decode()


def _records(bill: Bill) -> list[dict[str, Any]]:
    if LAYER in bill.by:
        layers = bill.by_layer() if bill.groups else bill.total().saved
        return [layer_row(bill.groups, layer) for layer in layers]
    return [usage_row(bill.groups, row) for row in bill.rows]


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


def _layer_table(bill: Bill, layers: Sequence[Saved]) -> str:
    groups = bill.groups if LAYER in bill.by else ()
    rows = [
        [
            *(value or "-" for value in one.group),
            one.layer,
            *_layer_cells(one.requests, one.tokens, _pair(one.saved)),
        ]
        for one in layers
    ]
    every = total(_pair(one.saved) for one in layers)
    sums = _layer_cells(sum(one.requests for one in layers), sum(one.tokens for one in layers), every)
    sums[0] = ""  # a request in which two layers saved something would count twice
    names = ["total", *("" for _ in groups)]
    return table((*groups, "saved by layer", "requests", "tokens, about", "saved"), rows, [*names, *sums])


def _layer_cells(requests: int, tokens: int, saved: Amount) -> list[str]:
    return [f"{requests:,}", f"{tokens:,}", shown(saved)]


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
        return "?"
    value = Decimal(nano) / NANO
    rounded = value.quantize(_SHOWN)
    text = "<$0.0001" if value > 0 and not rounded else f"${rounded:,}"
    return f"{text} + ?" if unknown else text


def _pair(money: Money) -> Amount:
    return money.nano, money.unknown


def _moment(moment: datetime) -> str:
    text = moment.strftime("%Y-%m-%d %H:%M")
    return text.removesuffix(" 00:00")
