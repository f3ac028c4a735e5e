"""Single rows, newest first, and what failed alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, RowMapping, Table, func, select

from ..schema import audit_log, requests
from ..schema import savings as layers
from ._query import (
    LIMIT,
    a_number,
    a_text,
    a_time,
    after,
    before,
    conditions,
    cursor_of,
    limited,
    read_cursor,
    report,
    text_of,
)
from .types import AuditEntry, Failures, Filters, Page, Request
from .usage import failed as has_failed

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_EVERYTHING = Filters()


async def list_requests(
    engine: AsyncEngine,
    filters: Filters = _EVERYTHING,
    *,
    failed: bool | None = None,
    aborted: bool | None = None,
    estimated: bool | None = None,
    cursor: str | None = None,
    limit: int = LIMIT,
) -> Page[Request]:
    """Rows of the ledger, newest first. ``failed``, ``aborted`` and ``estimated``: those alone that are, or
    are not; None: both. Raises as :func:`gw.store.reports.usage`."""
    c = requests.c
    wanted = conditions(requests, filters)
    for choice, condition in (
        (failed, has_failed(c)),
        (aborted, c.aborted != ""),
        (estimated, c.estimated != ""),
    ):
        if choice is not None:
            wanted.append(condition if choice else ~condition)
    async with report(engine) as connection:
        page, following = await newest_first(connection, requests, wanted, cursor, limit, a_text)
        saved = await _savings_of(connection, [row["id"] for row in page])
    return Page(tuple(Request(**row, savings=tuple(sorted(saved[row["id"]]))) for row in page), following)


async def _savings_of(
    connection: AsyncConnection, ids: Iterable[str]
) -> dict[str, list[tuple[str, int, int | None]]]:
    found: dict[str, list[tuple[str, int, int | None]]] = defaultdict(list)
    chosen = select(layers.c.request, layers.c.layer, layers.c.tokens, layers.c.saved_nano)
    for request, layer, tokens, nano in await connection.execute(chosen.where(layers.c.request.in_(ids))):
        found[request].append((layer, tokens, nano))
    return found


async def failures(
    engine: AsyncEngine, filters: Filters = _EVERYTHING, *, cursor: str | None = None, limit: int = LIMIT
) -> Page[Failures]:
    """Failed requests by provider, model, status, stage and code, in that order. Raises as
    :func:`gw.store.reports.usage`."""
    async with report(engine) as connection:
        dialect = connection.dialect.name
        c = requests.c
        chosen = (
            select(
                text_of(c.provider, dialect).label("provider"),
                text_of(c.model, dialect).label("model"),
                c.status,
                text_of(c.error_stage, dialect).label("stage"),
                text_of(c.error_code, dialect).label("code"),
                c.at,
            )
            .where(*conditions(requests, filters), has_failed(c))
            .subquery()
        )
        alike = (chosen.c.provider, chosen.c.model, chosen.c.status, chosen.c.stage, chosen.c.code)
        query = (
            select(
                *alike,
                func.count().label("requests"),
                func.min(chosen.c.at).label("first"),
                func.max(chosen.c.at).label("last"),
            )
            .group_by(*alike)
            .order_by(*alike)
        )
        if cursor is not None:
            query = query.where(after(alike, read_cursor(cursor, a_text, a_text, a_number, a_text, a_text)))
        found = (await connection.execute(query.limit(limited(limit) + 1))).mappings().all()
    page = tuple(Failures(**row) for row in found[:limit])
    last = page[-1] if len(found) > limit else None
    return Page(
        page,
        None if last is None else cursor_of(last.provider, last.model, last.status, last.stage, last.code),
    )


async def audit(
    engine: AsyncEngine,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    cursor: str | None = None,
    limit: int = LIMIT,
) -> Page[AuditEntry]:
    """Changes to projects and keys, newest first. Raises as :func:`gw.store.reports.usage`."""
    c = audit_log.c
    wanted = conditions(audit_log, Filters(since, until))
    wanted += [
        column == value
        for column, value in ((c.actor, actor), (c.action, action), (c.subject, subject))
        if value is not None
    ]
    async with report(engine) as connection:
        rows, following = await newest_first(connection, audit_log, wanted, cursor, limit, a_number)
    return Page(tuple(AuditEntry(**row) for row in rows), following)


async def newest_first(
    connection: AsyncConnection,
    table: Table,
    wanted: list[ColumnElement[bool]],
    cursor: str | None,
    limit: int,
    an_id: Callable[[Any], Any],
) -> tuple[Sequence[RowMapping], str | None]:
    """Rows of a table that has a time ``at`` and an ``id``, of the kind ``an_id``; and the next cursor."""
    identity = table.c.id if an_id is a_number else text_of(table.c.id, connection.dialect.name)
    order = (table.c.at, identity)
    query = select(table).where(*wanted).order_by(*(column.desc() for column in order))
    if cursor is not None:
        query = query.where(before(order, read_cursor(cursor, a_time, an_id)))
    found = (await connection.execute(query.limit(limited(limit) + 1))).mappings().all()
    page = found[:limit]
    more = len(found) > limit
    return page, cursor_of(page[-1]["at"].isoformat(), page[-1]["id"]) if more else None
