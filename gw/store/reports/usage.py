"""Who used what, what it cost and what was saved: sums over the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, RowMapping, Subquery, case, func, select

from ..schema import requests
from ..schema import savings as layers
from ._query import (
    LIMIT,
    a_text,
    after,
    between,
    conditions,
    cursor_of,
    date_of,
    limited,
    read_cursor,
    report,
    text_of,
)
from .types import GROUPS, BadQuery, Filters, Group, Money, Page, Saved, Spread, Usage

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Columns = list[ColumnElement[Any]]

_COUNTED = (
    "attempts",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
)
_DATES = {"day": 10, "month": 7}
_EVERYTHING = Filters()


async def usage(
    engine: AsyncEngine,
    group: Sequence[Group] = (),
    filters: Filters = _EVERYTHING,
    *,
    percentiles: bool = False,
    cursor: str | None = None,
    limit: int = LIMIT,
) -> Page[Usage]:
    """Sums by ``group``, in ascending order; without groups, one row over everything.

    Raises :class:`BadQuery`, :class:`TooSlow`, and what :func:`gw.store.engine.is_away` knows.
    """
    start = _start(group, cursor, 0)
    async with report(engine) as connection:
        dialect = connection.dialect.name
        rows = _requests(group, filters, dialect)
        rows = _ranked(rows, _keys(rows)) if percentiles else rows
        keys = _keys(rows)
        query = select(*keys, *_sums(rows, percentiles)).group_by(*keys).order_by(*keys)
        if start:
            query = query.where(after(keys, start))
        found = (await connection.execute(query.limit(limited(limit) + 1))).mappings().all()
        page = found[:limit]
        groups = [_values(row) for row in page]
        saved: dict[tuple[str, ...], list[Saved]] = defaultdict(list)
        if page:
            rows = _layers(group, filters, dialect)
            keys = _keys(rows)
            query = _sums_by_layer(rows, keys)
            if keys:
                query = query.where(between(keys, groups[0], groups[-1]))
            for row in (await connection.execute(query)).mappings():
                saved[_values(row)].append(_saved(row))
    return Page(
        tuple(_usage(row, values, saved[values]) for row, values in zip(page, groups, strict=True)),
        cursor_of(*groups[-1]) if len(found) > limit else None,
    )


async def savings(
    engine: AsyncEngine,
    group: Sequence[Group] = (),
    filters: Filters = _EVERYTHING,
    *,
    cursor: str | None = None,
    limit: int = LIMIT,
) -> Page[Saved]:
    """What each layer saved, by ``group`` and then by layer, in ascending order. Raises as :func:`usage`."""
    start = _start(group, cursor, 1)
    async with report(engine) as connection:
        rows = _layers(group, filters, connection.dialect.name)
        keys = _keys(rows)
        query = _sums_by_layer(rows, keys)
        if start:
            query = query.where(after([*keys, rows.c.layer], start))
        found = (await connection.execute(query.limit(limited(limit) + 1))).mappings().all()
    page = tuple(_saved(row) for row in found[:limit])
    return Page(page, cursor_of(*page[-1].group, page[-1].layer) if len(found) > limit else None)


def _start(group: Sequence[Group], cursor: str | None, more: int) -> list[Any]:
    unknown = sorted({name for name in group if name not in GROUPS})
    if unknown:
        raise BadQuery(f"cannot group by {', '.join(unknown)}: choose among {', '.join(GROUPS)}")
    if len(set(group)) < len(group):
        raise BadQuery("each group is named once")
    return [] if cursor is None else read_cursor(cursor, *[a_text] * (len(group) + more))


def _grouped(group: Sequence[Group], dialect: str) -> Columns:
    """``g0``, ``g1``, … of the table ``requests``."""
    found: Columns = []
    for number, name in enumerate(group):
        if name in _DATES:
            column = date_of(requests.c.at, _DATES[name], dialect)
        else:
            column = text_of(requests.c["key_id" if name == "key" else name], dialect)
        found.append(column.label(f"g{number}"))
    return found


def _requests(group: Sequence[Group], filters: Filters, dialect: str) -> Subquery:
    wanted = ("status", "stream", "aborted", "estimated", "error_code", "cache_hit", "ttft_ms", "duration_ms")
    columns = [requests.c[name] for name in (*wanted, *_COUNTED, "cost_nano", "counterfactual_nano")]
    chosen = select(*_grouped(group, dialect), *columns).where(*conditions(requests, filters))
    return chosen.subquery("rows")


def _layers(group: Sequence[Group], filters: Filters, dialect: str) -> Subquery:
    chosen = (
        select(
            *_grouped(group, dialect),
            text_of(layers.c.layer, dialect).label("layer"),
            layers.c.tokens,
            layers.c.saved_nano,
        )
        .join_from(layers, requests, layers.c.request == requests.c.id)
        .where(*conditions(requests, filters))
    )
    return chosen.subquery("layers")


def _keys(rows: Subquery) -> Columns:
    return [column for column in rows.c if column.key[0] == "g" and column.key[1:].isdigit()]


def _ranked(rows: Subquery, keys: Columns) -> Subquery:
    """``rows`` with the rank of each one's times among its group, and how many have one."""
    ranks: Columns = []
    for time in (rows.c.duration_ms, rows.c.ttft_ms):
        order = (time.is_(None), time)
        ranks += [
            func.row_number().over(partition_by=keys or None, order_by=order).label(f"{time.key}_rank"),
            func.count(time).over(partition_by=keys or None).label(f"{time.key}_of"),
        ]
    return select(rows, *ranks).subquery("ranked")


def _sums(rows: Subquery, percentiles: bool) -> Columns:
    c = rows.c
    sums: Columns = [
        func.count().label("requests"),
        _count(c.stream).label("streams"),
        _count(failed(c)).label("errors"),
        _count(c.aborted != "").label("aborted"),
        _count(c.estimated != "").label("estimated"),
        _count(c.cache_hit).label("cache_hits"),
        *(func.coalesce(func.sum(c[name]), 0).label(name) for name in _COUNTED),
    ]
    for money in (c.cost_nano, c.counterfactual_nano):
        sums += [func.sum(money).label(money.key), func.count(money).label(f"{money.key}_known")]
    for time in (c.duration_ms, c.ttft_ms):
        sums.append(func.avg(time).label(time.key))
        if percentiles:
            rank, of = c[f"{time.key}_rank"], c[f"{time.key}_of"]
            sums += [
                func.min(case((rank * 100 >= of * share, time))).label(f"{time.key}_p{share}")
                for share in (50, 95)
            ]
    return sums


def failed(columns: Any) -> ColumnElement[bool]:
    """Refused or failed; a stream that broke off had begun with 200."""
    found: ColumnElement[bool] = (columns.status >= 400) | (columns.error_code != "")
    return found


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _sums_by_layer(rows: Subquery, keys: Columns) -> Any:
    order = [*keys, rows.c.layer]
    return (
        select(
            *order,
            func.count().label("requests"),
            func.sum(rows.c.tokens).label("tokens"),
            func.sum(rows.c.saved_nano).label("saved_nano"),
            func.count(rows.c.saved_nano).label("saved_nano_known"),
        )
        .group_by(*order)
        .order_by(*order)
    )


def _values(row: RowMapping) -> tuple[str, ...]:
    return tuple(str(value) for name, value in row.items() if name[0] == "g" and name[1:].isdigit())


def _saved(row: RowMapping) -> Saved:
    return Saved(_values(row), row["layer"], row["requests"], int(row["tokens"]), _money(row, "saved_nano"))


def _usage(row: RowMapping, group: tuple[str, ...], saved: Sequence[Saved]) -> Usage:
    flags = ("requests", "streams", "errors", "aborted", "estimated", "cache_hits")
    return Usage(
        group=group,
        **{name: int(row[name]) for name in (*flags, *_COUNTED)},
        cost=_money(row, "cost_nano"),
        counterfactual=_money(row, "counterfactual_nano"),
        duration=_spread(row, "duration_ms"),
        ttft=_spread(row, "ttft_ms"),
        saved=tuple(saved),
    )


def _money(row: RowMapping, name: str) -> Money:
    return Money.over(row["requests"], row[f"{name}_known"], row[name])


def _spread(row: RowMapping, name: str) -> Spread:
    return Spread(row[name], row.get(f"{name}_p50"), row.get(f"{name}_p95"))
