"""THE ROUTE TABLE of /admin: mounted, described and tested from here."""

from __future__ import annotations

from ...wire import GROUPS
from . import examples, projects, reports, rows, status
from .parameters import Parameter, choice, choices, flag, key_text, moment, path_text, text, whole
from .schemas import TEXT, TIME, Shape, fields, listed, maybe, page, ref
from .table import Handle, Route

_AFTER = text("after", "`next` of the page before.")
_LIMIT = whole("limit", "Items of a page.", 1, 500, default=100)
_PROJECT = path_text("project", "Id of a project.")
_KEY = key_text("key", "Id of a key: what stands between the two underscores.", in_path=True)

_PROJECTS = (
    Route(
        "GET",
        "/admin/projects",
        projects.list_projects,
        "Projects, by id",
        page(ref("Project"), "projects"),
        {"projects": [examples.PROJECT], "next": None},
        (_AFTER, _LIMIT, flag("archived", "Archived ones, too.")),
        errors=(409, 503),
    ),
    Route(
        "POST",
        "/admin/projects",
        projects.create_project,
        "Create a project",
        ref("Project"),
        examples.PROJECT,
        request=ref("NewProject"),
        request_example=examples.NEW_PROJECT,
        status=201,
        errors=(409, 413, 503),
    ),
    Route(
        "GET",
        "/admin/projects/{project}",
        projects.show_project,
        "One project",
        ref("Project"),
        examples.PROJECT,
        (_PROJECT,),
        errors=(404, 409, 503),
    ),
    Route(
        "PATCH",
        "/admin/projects/{project}",
        projects.change_project,
        "Change a project: a JSON merge patch (RFC 7396), in which null takes a limit away",
        ref("Project"),
        {**examples.PROJECT, "monthly_budget_usd": "500.00", "rpm": None},
        (_PROJECT,),
        request=ref("ProjectPatch"),
        request_example=examples.PROJECT_PATCH,
        errors=(404, 409, 413, 503),
    ),
    Route(
        "DELETE",
        "/admin/projects/{project}",
        projects.archive_project,
        "Archive a project: its keys are refused from now on, its usage stays",
        ref("Project"),
        examples.ARCHIVED_PROJECT,
        (_PROJECT,),
        errors=(404, 409, 503),
    ),
    Route(
        "POST",
        "/admin/projects/{project}/restore",
        projects.restore_project,
        "Take a project out of the archive",
        ref("Project"),
        examples.PROJECT,
        (_PROJECT,),
        errors=(404, 409, 503),
    ),
    Route(
        "POST",
        "/admin/projects/{project}/keys",
        projects.create_key,
        "Create a key. `key` is in this answer and never again",
        ref("IssuedKey"),
        examples.ISSUED_KEY,
        (_PROJECT,),
        request=ref("NewKey"),
        request_example=examples.NEW_KEY,
        status=201,
        errors=(404, 409, 413, 503),
    ),
)

_KEYS = (
    Route(
        "GET",
        "/admin/keys",
        projects.list_keys,
        "Keys, in the order in which they were made",
        page(ref("Key"), "keys"),
        {"keys": [examples.KEY], "next": None},
        (
            text("project", "Those of one project."),
            flag("active", "Neither revoked nor expired."),
            _AFTER,
            _LIMIT,
        ),
        errors=(404, 409, 503),
    ),
    Route(
        "GET",
        "/admin/keys/{key}",
        projects.show_key,
        "One key, without its secret",
        ref("Key"),
        examples.KEY,
        (_KEY,),
        errors=(404, 409, 503),
    ),
    Route(
        "PATCH",
        "/admin/keys/{key}",
        projects.change_key,
        "Change a key: a JSON merge patch (RFC 7396), in which null takes a limit away",
        ref("Key"),
        {**examples.KEY, "expires_at": "2027-01-01T00:00:00Z"},
        (_KEY,),
        request=ref("NewKey"),
        request_example={"expires_at": "2027-01-01T00:00:00Z"},
        errors=(404, 409, 413, 503),
    ),
    Route(
        "DELETE",
        "/admin/keys/{key}",
        projects.revoke_key,
        "Revoke a key: every worker refuses it within five seconds",
        ref("Key"),
        examples.REVOKED_KEY,
        (_KEY,),
        errors=(404, 409, 503),
    ),
    Route(
        "POST",
        "/admin/keys/{key}/rotate",
        projects.rotate_key,
        "Make a key in the place of another, which goes on working for `overlap_seconds` (a day)",
        ref("IssuedKey"),
        examples.ROTATED_KEY,
        (_KEY,),
        request=fields(
            {"overlap_seconds": {"type": "number", "minimum": 0, "maximum": 2_592_000}}, ("overlap_seconds",)
        ),
        request_example={"overlap_seconds": 3600},
        status=201,
        errors=(404, 409, 413, 503),
    ),
)

#: Items of a page of a report: a table for a spreadsheet is better in few pieces.
_ROWS = whole("limit", "Rows of a page.", 1, 10_000, default=1000)
_FROM = moment("from", "Requests from here on; the beginning of this month (UTC) if not given.")
_TO = moment("to", "Requests before this time.")
_FORMAT = choice("format", "`accept: text/csv` asks for the table, too.", ("json", "csv"))
_WHICH = (
    text("project", "Id of a project."),
    key_text("key", "Id of a key, or the fingerprint of GATEWAY_API_KEY."),
    text("model", "The model that answered."),
    text("provider", "The provider that answered."),
)
_PAGES = (_AFTER, _ROWS, _FORMAT)


def _report(
    path: str,
    handle: Handle,
    summary: str,
    columns: rows.Columns,
    example: object,
    *parameters: Parameter,
    optional: dict[str, Shape] | None = None,
    alone: rows.Columns | None = None,
) -> Route:
    """``optional`` columns are in some answers; ``alone`` is the other kind of row that it may give."""
    row = fields({**columns, **(optional or {})}, tuple(optional or ()))
    answer = row if alone is None else {"anyOf": [row, fields(alone)]}
    return Route(
        "GET",
        path,
        handle,
        summary,
        fields({"from": TIME, "to": maybe(TIME), "rows": listed(answer), "next": maybe(TEXT)}),
        {"from": "2026-11-01T00:00:00Z", "to": None, "rows": [example], "next": None},
        (_FROM, _TO, *parameters, *_PAGES),
        csv=True,
        errors=(409, 503),
    )


_BY_GROUP: dict[str, Shape] = dict.fromkeys(GROUPS, TEXT)
_REPORTS = (
    _report(
        "/admin/usage",
        reports.usage,
        "Requests, tokens, money and times, summed up",
        rows.USAGE,
        examples.USAGE,
        choices(
            "group_by",
            "A row for each of these; with `layer`, what each layer saved.",
            GROUPS,
            ("day",),
        ),
        *_WHICH,
        flag("percentiles", "The median and the 95th percentile of times, too: slow over many requests."),
        optional=_BY_GROUP,
        alone={**rows.LAYERS},
    ),
    _report(
        "/admin/costs",
        reports.costs,
        "Dollars: cost, cost without the gateway, what each layer saved; by project or key, what is left",
        rows.COSTS,
        examples.COSTS,
        choices("group_by", "A row for each of these.", GROUPS, ("project",)),
        *_WHICH,
        optional={**_BY_GROUP, "budgets": listed(fields(rows.BUDGET))},
        alone={**rows.LAYERS},
    ),
    _report(
        "/admin/errors",
        reports.errors,
        "What failed: alike, or each request; and requests that were aborted or have estimated counts",
        rows.FAILURES,
        examples.FAILURE,
        choice("view", "Failures that are alike, or single requests.", ("summary", "requests"), "summary"),
        choice(
            "kind",
            "Which single requests (`failed`): with `view=requests`.",
            ("failed", "aborted", "estimated"),
        ),
        *_WHICH,
        alone=rows.REQUESTS,
    ),
    _report(
        "/admin/routing",
        reports.routing,
        "How routing decisions turned out: alike, or each one",
        rows.ROUTED,
        examples.ROUTED,
        choice("view", "Decisions that are alike, or each one.", ("summary", "decisions"), "summary"),
        text("project", "Id of a project."),
        text("model", "The model that was chosen."),
        alone=rows.OUTCOMES,
    ),
    _report(
        "/admin/audit",
        reports.audit,
        "Who changed what, newest first",
        rows.AUDIT,
        examples.AUDIT,
        text("actor", "`admin:` and a key's fingerprint, or `cli:` and a user."),
        text("action", "For example `key.revoke`."),
        text("subject", "`project:` or `key:` and an id."),
    ),
)

_STATUS = (
    Route(
        "GET",
        "/admin/ledger",
        status.ledger,
        "How recording goes on this machine",
        fields(rows.LEDGER),
        examples.LEDGER,
    ),
    Route(
        "GET",
        "/admin/metrics",
        status.metrics,
        "Metrics of all workers, for Prometheus",
        TEXT,
        'gateway_requests_total{model="claude-sonnet-5-5",provider="anthropic",status="200"} 42.0',
        content_type="text/plain",
        errors=(404,),
    ),
    Route(
        "GET",
        "/admin/openapi.json",
        status.describe,
        "This description",
        {"type": "object"},
        {"openapi": "3.1.0"},
    ),
)

ROUTES: tuple[Route, ...] = (*_PROJECTS, *_KEYS, *_REPORTS, *_STATUS)
