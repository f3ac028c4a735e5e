"""The database against the upstreams' bill, request by request."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .client import Outcome
from .prices import cost_nano
from .rows import NOTHING, Billed, Row, Tokens
from .traffic import Ask

#: Which classes a flag covers.
_COVERED = {
    "input": frozenset(("input", "cache_read", "cache_write_5m", "cache_write_1h")),
    "output": frozenset(("output", "reasoning")),
}


@dataclass(slots=True)
class Findings:
    """``differences``: what should not be, a sentence each. ``flagged``: rows with estimates, what was billed
    for them, and what went wrong."""

    rows: int = 0
    lines: int = 0
    exact: int = 0
    recorded: Tokens = NOTHING
    billed: Tokens = NOTHING
    cost_nano: int = 0
    flagged: list[tuple[Row, Tokens, str]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def differs(self, tag: str, what: str) -> None:
        self.differences.append(f"{tag}: {what}")


def compare(
    asked: Iterable[tuple[Ask, Outcome]],
    rows: Iterable[Row],
    lines: Iterable[Billed],
    *,
    projects: list[str],
    spent: Mapping[str, tuple[int, int]],
) -> Findings:
    """Every difference. ``projects`` are those of the keys, in their order; ``spent`` is what the accounts
    are said to have spent, and to have put aside still."""
    found = Findings()
    by_tag: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_tag[row.request_id].append(row)
        found.rows += 1
    bill: dict[str, list[Billed]] = defaultdict(list)
    for line in lines:
        bill[line.tag].append(line)
        found.lines += 1
        found.outcomes[line.outcome] += 1
    tags = set()
    for ask, outcome in asked:
        tags.add(ask.tag)
        _one(found, ask, outcome, by_tag.get(ask.tag, []), bill.get(ask.tag, []), projects[ask.key])
    for stranger in by_tag.keys() - tags:
        found.differs(stranger, "a row of a request that nobody has made")
    for stranger in bill.keys() - tags:
        found.differs(stranger, "the upstream was asked what nobody has asked the gateway")
    _accounts(found, by_tag, spent)
    return found


def _one(
    found: Findings, ask: Ask, outcome: Outcome, rows: list[Row], lines: list[Billed], project: str
) -> None:
    tag = ask.tag
    if len(rows) > 1:
        found.differs(tag, f"{len(rows)} rows")
        return
    if not rows:
        if lines:
            found.differs(tag, f"lost: the upstream was asked {len(lines)} times, and there is no row")
        elif outcome.status == 200:
            found.differs(tag, "lost: answered, and there is no row")
        return
    row = rows[0]
    used = NOTHING
    for line in lines:
        used = used.plus(line.tokens)
    if row.project != project or row.dialect != ask.dialect or row.stream != ask.stream:
        found.differs(tag, f"not what was asked: {row}")
    if outcome.ended == "whole" and outcome.status != row.status:
        found.differs(tag, f"status {row.status}, and the client was told {outcome.status}")
    if row.upstream_request_id and row.upstream_request_id not in {line.request_id for line in lines}:
        found.differs(tag, f"an upstream request that the upstream does not know: {row.upstream_request_id}")
    if not row.aborted and row.attempts != len(lines):
        found.differs(tag, f"{row.attempts} attempts, and the upstream was asked {len(lines)} times")
    _cost(found, row, next((line.geo for line in lines if line.geo), ask.geo))
    covered = frozenset().union(*(_COVERED[name] for name in row.estimated))
    wrong = [
        f"{name} {mine} instead of {theirs}"
        for name, mine, theirs in zip(Tokens._fields, row.tokens, used, strict=True)
        if name not in covered and mine != theirs
    ]
    if wrong:
        found.differs(tag, f"{', '.join(wrong)} ({ask.model} as {ask.dialect}, {ask.why or 'nothing wrong'})")
    if row.estimated:
        found.flagged.append((row, used, ask.why or outcome.ended))
    else:
        found.exact += 1
        found.recorded = found.recorded.plus(row.tokens)
        found.billed = found.billed.plus(used)


def _cost(found: Findings, row: Row, geo: str) -> None:
    try:
        expected = cost_nano(row.provider, row.model, row.tokens, geo)
    except KeyError:
        found.differs(row.request_id, f"no price is known for {row.model} here")
        return
    if row.cost_nano != expected:
        found.differs(row.request_id, f"cost {row.cost_nano} instead of {expected} nano-dollars")
    found.cost_nano += expected or 0


def _accounts(found: Findings, by_tag: Mapping[str, list[Row]], spent: Mapping[str, tuple[int, int]]) -> None:
    """What the budgets believe is what the rows say, and nothing is still put aside."""
    costs: Counter[str] = Counter()
    for rows in by_tag.values():
        for row in rows:
            costs[f"project:{row.project}"] += row.cost_nano or 0
    for account, cost in costs.items():
        believed = spent.get(account, (0, 0))[0]
        if believed != cost:
            found.differs(account, f"has spent {believed} by its budget, and {cost} by its rows")
    for account, (_, reserved) in spent.items():
        if reserved:
            found.differs(account, f"{reserved} nano-dollars are still put aside")
