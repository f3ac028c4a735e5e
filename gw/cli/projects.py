"""``gw projects``."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..settings import Settings
from ._database import actor, with_directory
from ._table import table
from .arguments import body_of

if TYPE_CHECKING:
    from ..projects.directory import Directory
    from ..projects.types import Project, Terms


def projects(args: argparse.Namespace) -> int:
    """0 done, 1 refused or no database, 2 wrong usage or settings."""

    async def work(directory: Directory, settings: Settings) -> int:
        await _ACTIONS[args.action](directory, args)
        return 0

    return with_directory(args, work)


async def _create(directory: Directory, args: argparse.Namespace) -> None:
    from ..projects.parse import project_from_json

    spec = project_from_json({"id": args.id, **body_of(args)})
    made = await directory.create_project(spec, actor=actor())
    _show(args, made, f"Project {made.id} is made. A key for it: gw keys create {made.id}")


async def _set(directory: Directory, args: argparse.Namespace) -> None:
    changed = await directory.update_project(args.id, changes(body_of(args)), actor=actor())
    _show(args, changed, f"Project {changed.id} is changed; every worker knows within seconds.")


async def _archive(directory: Directory, args: argparse.Namespace) -> None:
    changed = await directory.archive_project(args.id, restore=args.undo, actor=actor())
    said = "taken again" if args.undo else "refused"
    _show(args, changed, f"The keys of project {changed.id} are {said} within seconds.")


async def _list(directory: Directory, args: argparse.Namespace) -> None:
    from ..projects.types import project_json

    found: list[Project] = []
    after: str | None = None
    while True:
        page = await directory.projects(after=after, limit=500, archived=args.archived)
        found += page.items
        if (after := page.next) is None:
            break
    if args.json:
        print(json.dumps([project_json(project) for project in found], indent=2))
        return
    head = ("project", "name", "rpm", "tpm", "concurrent", "$/day", "$/month", "rules", "labels")
    rows = [[project.id, _name(project), *limits(project)] for project in found]
    print(table(head, rows))


async def _display(directory: Directory, args: argparse.Namespace) -> None:
    from ..projects.types import key_json, project_json
    from .keys import every_key, key_table

    project = await directory.project(args.id)
    keys = await every_key(directory, project.id, active=False)
    now = datetime.now(UTC)
    if args.json:
        shown = {**project_json(project), "keys": [key_json(key, now) for key in keys]}
        print(json.dumps(shown, indent=2))
        return
    print(details(project_json(project)))
    print("\n" + (key_table(keys, now) if keys else f"It has no keys: gw keys create {project.id}"))


def changes(body: dict[str, Any]) -> dict[str, Any]:
    """``body``, if anything is in it. Raises ``Invalid``."""
    from ..projects.types import Invalid

    if not body:
        raise Invalid("set", "needs something to change: see `--help`")
    return body


def details(shown: dict[str, Any]) -> str:
    """What is set, one line each."""
    lines = []
    for name, value in shown.items():
        if isinstance(value, dict):
            lines += [(f"{name}.{inner}", one) for inner, one in value.items()]
        elif value is not None:
            lines.append((name, value))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {_plain(value)}" for name, value in lines)


def limits(terms: Terms) -> list[str]:
    """The columns that projects and keys have alike."""
    from ..projects.types import dollars, rules_json

    numbers = (terms.rpm, terms.tpm, terms.concurrent)
    money = (dollars(terms.daily_budget_nano), dollars(terms.monthly_budget_nano))
    return [
        *("-" if number is None else f"{number:,}" for number in numbers),
        *(amount or "-" for amount in money),
        " ".join(rules_json(terms.rules)),
        " ".join(f"{name}={text}" for name, text in terms.labels.items()),
    ]


def _name(project: Project) -> str:
    return f"{project.name} (archived)" if project.archived_at is not None else project.name


def _show(args: argparse.Namespace, project: Project, said: str) -> None:
    from ..projects.types import project_json

    print(json.dumps(project_json(project), indent=2) if args.json else said)


def _plain(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


_ACTIONS = {"create": _create, "list": _list, "show": _display, "set": _set, "archive": _archive}
