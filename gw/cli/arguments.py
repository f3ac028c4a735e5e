"""What the commands about projects, keys and usage are asked with. Loads no database."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import Any

#: Removes a limit or a rule.
NONE = "none"
_RAW = argparse.RawDescriptionHelpFormatter
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

#: Option → where it goes in the JSON that the admin API takes, and what it is given as.
_LIMITS: tuple[tuple[str, str, str, str], ...] = (
    ("--name", "name", "TEXT", "what people call it"),
    ("--rpm", "rpm", "N", "requests per minute"),
    ("--tpm", "tpm", "N", "tokens per minute"),
    ("--concurrent", "concurrent", "N", "requests at the same time"),
    ("--daily-budget", "daily_budget_usd", "USD", "dollars per UTC day, as in 12.50"),
    ("--monthly-budget", "monthly_budget_usd", "USD", "dollars per UTC month"),
    ("--models", "rules.models", "LIST", "models that may be asked for, as in 'claude-haiku-*,local:*'"),
    ("--default-model", "rules.default_model", "NAME", "the model of requests that name none"),
    ("--max-tokens", "rules.max_tokens", "N", "longest answer, in tokens"),
    ("--system-prefix", "rules.system_prefix", "TEXT", "goes before the system prompt of every request"),
    ("--allow-tools", "rules.allowed_tools", "LIST", "tools that may be offered to the model"),
    ("--block-tools", "rules.blocked_tools", "LIST", "tools that may not"),
    ("--cache", "rules.cache", "POLICY", "default, off, or shared among the keys of the project"),
)
_NUMBERS = {"rpm", "tpm", "concurrent", "rules.max_tokens"}
_LISTS = {"rules.models", "rules.allowed_tools", "rules.blocked_tools"}


def option_of(field: str) -> str:
    """The option that a field of the JSON was given with, for messages."""
    place = re.sub(r"\[\d+\]$", "", field)
    if place.startswith("labels"):
        return "--label"
    found = {path: option for option, path, _, _ in _LIMITS} | {"expires_at": "--expires", "id": "the id"}
    return found.get(place, field)


def body_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options as the JSON that the admin API takes; those not given are not in it."""
    body: dict[str, Any] = {}
    for _, path, _, _ in _LIMITS:
        given = getattr(args, path, None)
        if given is None:
            continue
        value: Any = given
        if given == NONE:
            value = None
        elif path in _NUMBERS and re.fullmatch(r"[0-9]{1,12}", given):
            value = int(given)
        elif path in _LISTS:
            value = [item for part in given.split(",") if (item := part.strip())]
        outer, _, inner = path.rpartition(".")
        (body.setdefault(outer, {}) if outer else body)[inner] = value
    if args.label:
        body["labels"] = dict(args.label)
    return body


def add(commands: Any) -> None:
    """The commands ``projects``, ``keys``, ``usage`` and ``migrate``."""
    _projects(_group(commands, "projects", "projects: who may ask, for what, and for how much", _PROJECTS))
    _keys(_group(commands, "keys", "keys of projects: made, listed, rotated, revoked", _KEYS))
    _usage(commands)
    migrate = commands.add_parser(
        "migrate",
        help="bring the database to this version's tables",
        description="Bring the database (DATABASE_URL, or SQLite in DATA_DIR) to this version's tables.\n"
        "Other commands and `gw serve` do so by themselves; this is for those who want it done\n"
        "before. Any number of them may run at once.",
        formatter_class=_RAW,
    )
    _env_file(migrate)


_PROJECTS = """Examples:
  gw projects create research --monthly-budget 200 --rpm 120 --label cost-center=4711
  gw projects set research --models 'claude-haiku-*,local:*' --daily-budget 10
  gw projects set research --daily-budget none
  gw projects list
  gw projects archive research          its keys are refused within seconds; its usage is kept
"""
_KEYS = """Examples:
  gw keys create research --name ci --expires 90d
  gw keys list research
  gw keys rotate KEY --overlap 1h       a new key in its place; the old one works for an hour more
  gw keys revoke KEY                    refused within seconds

KEY is a key's id, as `gw keys list` shows it.
"""
_USAGE = """Examples:
  gw usage                              this month's bill per project, and what each layer saved
  gw usage --month 2026-11 --by project,model
  gw usage --since 2026-11-01 --until 2026-11-08 --by day --project research
  gw usage --by key,layer --csv > saved.csv

Days and months are UTC's; --until itself is not included. What has no known price is never counted
as 0: it is shown as `?` and named below the table.
"""


def _group(commands: Any, name: str, text: str, examples: str) -> Any:
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".\nThe settings are those of `gw serve`, which need not "
        "run; it needs\nENABLE_MULTI_PROJECT=1.",
        epilog=examples,
        formatter_class=_RAW,
    )
    return parser.add_subparsers(dest="action", required=True, metavar="ACTION")


def _projects(actions: Any) -> None:
    create = _action(actions, "create", "make a project", "gw projects create research --monthly-budget 200")
    create.add_argument("id", help="a-z, 0-9, dot, underscore and hyphen; shown in reports")
    _terms(create)
    listed = _action(actions, "list", "projects with their limits", "gw projects list --archived")
    listed.add_argument("--archived", action="store_true", help="those, too")
    show = _action(actions, "show", "one project with its keys", "gw projects show research")
    show.add_argument("id")
    change = _action(
        actions, "set", "change a project", "gw projects set research --rpm 60 --daily-budget none"
    )
    change.add_argument("id")
    _terms(change)
    archive = _action(actions, "archive", "refuse a project's keys", "gw projects archive research")
    archive.add_argument("id")
    archive.add_argument("--undo", action="store_true", help="take them again")


def _keys(actions: Any) -> None:
    create = _action(actions, "create", "make a key", "gw keys create research --name ci --expires 90d")
    create.add_argument("project")
    _terms(create)
    create.add_argument("--expires", type=_moment, metavar="WHEN", help="2027-01-31, or in 90d, 12h, 30m")
    listed = _action(actions, "list", "keys, in the order in which they were made", "gw keys list research")
    listed.add_argument("project", nargs="?", help="of this project only")
    listed.add_argument("--all", action="store_true", help="also those revoked or expired")
    show = _action(actions, "show", "one key with its limits", "gw keys show KEY")
    show.add_argument("id", type=key_id, metavar="KEY")
    change = _action(actions, "set", "change a key", "gw keys set KEY --rpm 10 --expires none")
    change.add_argument("id", type=key_id, metavar="KEY")
    _terms(change)
    change.add_argument("--expires", type=_moment_or_none, metavar="WHEN", help="as for create, or none")
    rotate = _action(actions, "rotate", "make a key in the place of another", "gw keys rotate KEY")
    rotate.add_argument("id", type=key_id, metavar="KEY")
    rotate.add_argument(
        "--overlap", type=_duration, default=86_400, metavar="TIME", help="how long the old one works (1d)"
    )
    revoke = _action(actions, "revoke", "refuse a key from now on, for good", "gw keys revoke KEY")
    revoke.add_argument("id", type=key_id, metavar="KEY")


def _usage(commands: Any) -> None:
    usage = commands.add_parser(
        "usage",
        help="this month's bill per project, and what each layer saved",
        description="Who used what, what it cost and what the gateway saved, from the ledger's database.\n"
        "The settings are those of `gw serve`, which need not run.",
        epilog=_USAGE,
        formatter_class=_RAW,
    )
    _env_file(usage)
    usage.add_argument("--month", type=_month, metavar="YYYY-MM", help="default: this month")
    usage.add_argument("--since", type=_date, metavar="DATE", help="a day or a time, as 2026-11-01")
    usage.add_argument("--until", type=_date, metavar="DATE", help="default: now")
    usage.add_argument(
        "--by",
        default="project",
        metavar="LIST",
        help="some of project, model, key, day, month, provider, dialect, route, layer (default: project)",
    )
    usage.add_argument("--project", metavar="ID", help="of this project only")
    usage.add_argument("--key", type=key_id, metavar="ID", help="of this key only")
    as_data = usage.add_mutually_exclusive_group()
    as_data.add_argument("--json", action="store_true", help="as JSON, dollars as exact texts")
    as_data.add_argument("--csv", action="store_true", help="as CSV for spreadsheets")


def _action(actions: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = actions.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"Example:\n  {example}",
        formatter_class=_RAW,
    )
    _env_file(found)
    found.add_argument("--json", action="store_true", help="the answer as JSON")
    return found


def _terms(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits and rules", f"`{NONE}` takes one away")
    for option, path, metavar, text in _LIMITS:
        check = _list if path in _LISTS else str
        group.add_argument(option, dest=path, type=check, metavar=metavar, help=text)
    group.add_argument(
        "--label",
        type=_label,
        action="append",
        metavar="NAME=TEXT",
        help="for reports; may be given again; without a text it is taken away",
    )


def _env_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env-file", metavar="FILE", default=".env", help="settings file (default: .env)")


def key_id(text: str) -> str:
    """A key's id. Some will give the whole key: its secret goes no further."""
    return text.split("_")[1] if text.startswith("gw_") else text


def _list(text: str) -> str:
    if not text.replace(",", "").strip():  # as the admin API refuses an empty list, and for its reasons
        raise argparse.ArgumentTypeError(f"names with commas between them, or {NONE} for no such rule")
    return text


def _label(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError("NAME=TEXT, as in team=research")
    return name, value or None


def _duration(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if match is None and text != "0":
        raise argparse.ArgumentTypeError("a time as in 30m, 12h, 7d, or 0")
    return 0 if match is None else int(match[1]) * _UNITS[match[2]]


def _moment(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,6}[smhdw]", text):
        try:
            return (datetime.now(UTC) + timedelta(seconds=_duration(text))).isoformat(timespec="seconds")
        except OverflowError:
            raise argparse.ArgumentTypeError("a time within some thousand years, as in 90d") from None
    try:
        return _date(text).isoformat()
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError("a day as 2027-01-31, a time, or in 90d, 12h, 30m") from None


def _moment_or_none(text: str) -> str | None:
    # argparse takes None for "not given".
    return NONE if text == NONE else _moment(text)


def _date(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError("a day as 2026-11-01, or a time as 2026-11-01T12:00:00Z") from None


def _month(text: str) -> datetime:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}", text):
            return datetime.fromisoformat(f"{text}-01").replace(tzinfo=UTC)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("a month as 2026-11")
