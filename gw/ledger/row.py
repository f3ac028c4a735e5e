"""What the ledger keeps of a request, and how it stands in a journal: one JSON array for each record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson


# (Tuples: a frozen dataclass takes five times as long to make, and its values are wanted in their order.)
class Asked(NamedTuple):
    """Written before an upstream is asked: what is known of a request whose worker is then killed.

    ``at`` is Unix seconds (UTC). ``input_tokens`` is an estimate from the size of the request.
    """

    id: str
    at: float
    request_id: str
    project: str
    key_id: str
    dialect: str
    requested_model: str
    model: str
    provider: str
    stream: bool
    input_tokens: int
    #: Nano-dollars of ``input_tokens`` alone; None where the price is unknown.
    cost_nano: int | None
    #: Id of the budget's reservation; "" when there is none.
    reservation: str = ""


class Row(NamedTuple):
    """One finished request: the columns of ``requests``, and what goes into other tables beside it.

    ``at`` is Unix seconds (UTC). ``savings`` holds ``(layer, estimated tokens, nano-dollars or None)``.
    """

    id: str
    at: float
    request_id: str
    project: str
    key_id: str
    dialect: str
    requested_model: str
    model: str
    provider: str
    status: int
    stream: bool
    ttft_ms: float | None
    duration_ms: float
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    cost_nano: int | None
    counterfactual_nano: int | None
    cache_hit: bool = False
    route: str = ""
    route_reason: str = ""
    attempts: int = 1
    aborted: str = ""
    estimated: str = ""
    error_stage: str = ""
    error_code: str = ""
    upstream_request_id: str = ""
    reservation: str = ""
    savings: Sequence[tuple[str, int, int | None]] = ()


#: Status of a request whose worker died: nobody knows what its client was sent.
KILLED = 500
ASKED, ROW = 1, 2
#: Names of the columns of ``requests``, which come first; the other fields go into other tables.
COLUMNS = Row._fields[: Row._fields.index("reservation")]
_ASKED_LENGTH, _ROW_LENGTH = 1 + len(Asked._fields), 1 + len(Row._fields)


def encode(record: Asked | Row) -> bytes:
    """``record`` as one line of JSON without its newline. Raises ``TypeError`` for texts that are no UTF-8
    and for numbers of more than 64 bits."""
    return orjson.dumps((ROW if isinstance(record, Row) else ASKED, *record))


def decode(line: bytes) -> Asked | Row:
    """The record that was encoded, by this version or by one that knows some fields more or less at the end.
    Raises ``ValueError`` for anything else."""
    value = orjson.loads(line)
    # Compared with the type as well: 1 is True and 1.0.
    if type(value) is list and len(value) > 1 and type(value[0]) is int and type(value[1]) is str:
        try:
            if value[0] == ROW:
                return Row(*value[1:_ROW_LENGTH])
            if value[0] == ASKED:
                return Asked(*value[1:_ASKED_LENGTH])
        except TypeError as error:  # fields are missing that it had from the beginning
            raise ValueError("not a record of the journal") from error
    raise ValueError("not a record of the journal")


def killed(asked: Asked) -> Row:
    """The row of a request whose worker died in the middle of it: nothing in it is the provider's word."""
    return Row(
        id=asked.id,
        at=asked.at,
        request_id=asked.request_id,
        project=asked.project,
        key_id=asked.key_id,
        dialect=asked.dialect,
        requested_model=asked.requested_model,
        model=asked.model,
        provider=asked.provider,
        status=KILLED,
        stream=asked.stream,
        ttft_ms=None,
        duration_ms=0.0,
        input_tokens=asked.input_tokens,
        output_tokens=0,
        cache_read_tokens=0,
        cache_write_5m_tokens=0,
        cache_write_1h_tokens=0,
        reasoning_tokens=0,
        cost_nano=asked.cost_nano,
        counterfactual_nano=asked.cost_nano,
        aborted="killed",
        estimated="input,output",
        reservation=asked.reservation,
    )
