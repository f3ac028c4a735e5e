"""What one route of the admin API is: enough to mount it, to check its input, to describe and to test it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from blacksheep import Response

from .parameters import Parameter

if TYPE_CHECKING:
    from .mounting import Admin

#: JSON Schema 2020-12, as OpenAPI 3.1 has it.
Schema: TypeAlias = Mapping[str, Any]


@dataclass(slots=True, frozen=True)
class Call:
    """One request, checked. ``values`` holds every parameter of the route by name; ``actor`` is who changes
    something, as the audit log writes it; ``query`` is the query as it came, for links to further pages."""

    path: str
    query: bytes
    values: Mapping[str, Any]
    body: Any
    accept: bytes
    actor: str
    request_id: str | None


Handle: TypeAlias = Callable[["Admin", Call], Awaitable[Response]]


@dataclass(slots=True, frozen=True)
class Route:
    """``path`` is BlackSheep's and OpenAPI's alike: ``/admin/projects/{project}``.

    ``request`` is the schema of the body, None where there is none. ``answer`` and ``example`` are those of
    the answer with ``status``. ``csv``: it can be had as a table, too. ``ledger``: it reads the database.
    """

    method: str
    path: str
    handle: Handle
    summary: str
    answer: Schema
    example: Any
    parameters: tuple[Parameter, ...] = ()
    request: Schema | None = None
    request_example: Any = None
    status: int = 200
    csv: bool = False
    content_type: str = "application/json"
    errors: tuple[int, ...] = field(default=())
