"""Reports over the ledger: usage, money, failures, routing decisions, and who changed what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from blacksheep import Content, Response

from ...projects.types import iso
from ...wire import LAYER, costs_row, layer_row, usage_row
from . import rows
from .mounting import NO_STORE, Admin, Refused, answer
from .parameters import BadParameter
from .sheet import table
from .store import Late
from .table import Call

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from ...store.reports import Filters

T = TypeVar("T")
Rows = list[dict[str, Any]]


async def usage(admin: Admin, call: Call) -> Response:
    """Sums over requests; with ``layer`` among the groups, what each layer saved in them."""
    names = call.values["group_by"]
    if LAYER in names:
        return await _layers(admin, call)

    async def ask(engine: AsyncEngine, filters: Filters) -> tuple[Rows, str | None]:
        from ...store.reports import usage as query

        page = await query(
            engine, names, filters, percentiles=call.values["percentiles"] is True, **_paging(call)
        )
        return [usage_row(names, row) for row in page.rows], page.next

    return await _report(admin, call, {**_named(names), **rows.USAGE}, ask)


async def costs(admin: Admin, call: Call) -> Response:
    """Money alone; by project or by key each with its budgets and what is left of them."""
    names = call.values["group_by"]
    if LAYER in names:
        return await _layers(admin, call)
    kind = names[0] if names in (("project",), ("key",)) else None

    async def ask(engine: AsyncEngine, filters: Filters) -> tuple[Rows, str | None]:
        from ...store.reports import usage as query
        from .budgets import balances

        page = await query(engine, names, filters, **_paging(call))
        found = [costs_row(names, row) for row in page.rows]
        if kind is not None:
            left = await balances(engine, kind, [row[kind] for row in found], datetime.now(UTC))
            found = [{**row, "budgets": left.get(row[kind], [])} for row in found]
        return found, page.next

    return await _report(admin, call, {**_named(names), **rows.COSTS}, ask)


async def errors(admin: Admin, call: Call) -> Response:
    """Failures that are alike, or the single rows that failed, were aborted or have estimated counts."""
    if call.values["view"] == "requests":
        return await _single(admin, call)
    if call.values["kind"] is not None:
        raise BadParameter("kind", "it chooses among single requests: say view=requests, too")

    async def ask(engine: AsyncEngine, filters: Filters) -> tuple[Rows, str | None]:
        from ...store.reports import failures

        page = await failures(engine, filters, **_paging(call))
        return [rows.failures_row(row) for row in page.rows], page.next

    return await _report(admin, call, rows.FAILURES, ask)


async def routing(admin: Admin, call: Call) -> Response:
    """Routing decisions that are alike, or each one."""
    alone = call.values["view"] == "decisions"

    async def ask(engine: AsyncEngine, filters: Filters) -> tuple[Rows, str | None]:
        from ...store.reports import list_outcomes
        from ...store.reports import routing as query

        if alone:
            each = await list_outcomes(engine, filters, **_paging(call))
            return [rows.outcome_row(row) for row in each.rows], each.next
        page = await query(engine, filters, **_paging(call))
        return [rows.routed_row(row) for row in page.rows], page.next

    return await _report(admin, call, rows.OUTCOMES if alone else rows.ROUTED, ask)


async def audit(admin: Admin, call: Call) -> Response:
    """Changes to projects and keys, newest first."""
    values = call.values

    async def ask(engine: AsyncEngine, filters: Filters) -> tuple[Rows, str | None]:
        from ...store.reports import audit as query

        page = await query(
            engine,
            since=filters.since,
            until=filters.until,
            actor=values["actor"],
            action=values["action"],
            subject=values["subject"],
            **_paging(call),
        )
        return [rows.audit_row(row) for row in page.rows], page.next

    return await _report(admin, call, rows.AUDIT, ask)


async def _layers(admin: Admin, call: Call) -> Response:
    names = [name for name in call.values["group_by"] if name != LAYER]

    async def ask(engine: AsyncEngine, filters: Filters) -> tuple[Rows, str | None]:
        from ...store.reports import savings

        page = await savings(engine, names, filters, **_paging(call))
        return [layer_row(names, row) for row in page.rows], page.next

    return await _report(admin, call, {**_named(names), **rows.LAYERS}, ask)


async def _single(admin: Admin, call: Call) -> Response:
    async def ask(engine: AsyncEngine, filters: Filters) -> tuple[Rows, str | None]:
        from ...store.reports import list_requests

        kind: dict[str, Any] = {call.values["kind"] or "failed": True}
        page = await list_requests(engine, filters, **kind, **_paging(call))
        return [rows.request_row(row) for row in page.rows], page.next

    return await _report(admin, call, rows.REQUESTS, ask)


def _named(names: Iterable[str]) -> dict[str, Any]:
    return {name: {} for name in names}


def _paging(call: Call) -> dict[str, Any]:
    return {"cursor": call.values["after"], "limit": call.values["limit"]}


async def _report(
    admin: Admin,
    call: Call,
    columns: Mapping[str, Any],
    ask: Callable[[AsyncEngine, Filters], Awaitable[tuple[Rows, str | None]]],
) -> Response:
    """What ``ask`` finds in the call's time range, as JSON or as a table, one page of it."""
    if not admin.settings.ledger.enabled:
        raise Refused(409, "ledger_off", "Nothing is recorded: LEDGER_ENABLED=0.")
    now = datetime.now(UTC)
    since = call.values["from"] or datetime(now.year, now.month, 1, tzinfo=UTC)
    until = call.values["to"]
    if until is not None and until <= since:
        raise BadParameter("to", "it must be later than `from` (the beginning of this month, if not given)")

    async def work(database: Any) -> tuple[Rows, str | None]:
        from ...store.reports import BadQuery, Filters, TooSlow

        names = ("project", "key", "model", "provider")
        filters = Filters(since, until, **{name: call.values.get(name) for name in names})
        try:
            return await ask(database.engine, filters)
        except BadQuery as error:
            raise BadParameter("after", str(error)) from error
        except TooSlow as error:
            raise Late(str(error)) from error

    found, following = await admin.store.run(work)
    if _wants_table(call):
        return _as_table(call, columns, found, following)
    return answer({"from": iso(since), "to": iso(until), "rows": found, "next": following})


def _wants_table(call: Call) -> bool:
    if call.values["format"] is not None:
        return bool(call.values["format"] == "csv")
    return b"text/csv" in call.accept.lower()


def _as_table(call: Call, columns: Mapping[str, Any], found: Rows, following: str | None) -> Response:
    """Where there is more, ``link`` says where (RFC 8288)."""
    headers = [
        NO_STORE,
        (b"content-disposition", b'attachment; filename="%b.csv"' % call.path.rpartition("/")[2].encode()),
    ]
    if following is not None:
        pairs = [(name, value) for name, value in parse_qsl(call.query.decode("ascii")) if name != "after"]
        target = f"{call.path}?{urlencode([*pairs, ('after', following)])}"
        headers.append((b"link", f'<{target}>; rel="next"'.encode("ascii")))
    return Response(200, headers, Content(b"text/csv; charset=utf-8", table(rows.flat(columns), found)))
