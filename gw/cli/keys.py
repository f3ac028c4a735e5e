"""``gw keys``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..settings import Settings
from ._database import actor, with_directory
from ._table import table
from .arguments import NONE, body_of
from .projects import changes, details, limits
from .summary import url

if TYPE_CHECKING:
    from ..projects.directory import Directory
    from ..projects.types import Key, NewKey


def keys(args: argparse.Namespace) -> int:
    """0 done, 1 refused or no database, 2 wrong usage or settings."""

    async def work(directory: Directory, settings: Settings) -> int:
        await _ACTIONS[args.action](directory, args, settings)
        return 0

    return with_directory(args, work)


async def _create(directory: Directory, args: argparse.Namespace, settings: Settings) -> None:
    from ..projects.parse import key_from_json

    expiry = {} if args.expires is None else {"expires_at": args.expires}
    spec = key_from_json({**body_of(args), **expiry})
    made = await directory.create_key(args.project, spec, actor=actor())
    _issue(args, made, settings, f"A key of project {args.project}: {made.key.id}{_until(made.key)}.")


async def _rotate(directory: Directory, args: argparse.Namespace, settings: Settings) -> None:
    made = await directory.rotate_key(args.id, overlap=args.overlap, actor=actor())
    ends = (await directory.key(args.id)).expires_at
    assert ends is not None
    said = (
        f"A key in the place of {args.id}, which works until {_shown(ends)}: {made.key.id}{_until(made.key)}."
    )
    _issue(args, made, settings, said)


async def _revoke(directory: Directory, args: argparse.Namespace, settings: Settings) -> None:
    revoked = await directory.revoke_key(args.id, actor=actor())
    _show(
        args, revoked, f"Key {revoked.id} of project {revoked.project} is refused within seconds, for good."
    )


async def _set(directory: Directory, args: argparse.Namespace, settings: Settings) -> None:
    body = body_of(args)
    if args.expires is not None:
        body["expires_at"] = None if args.expires == NONE else args.expires
    changed = await directory.update_key(args.id, changes(body), actor=actor())
    _show(args, changed, f"Key {changed.id} is changed; every worker knows within seconds.")


async def _list(directory: Directory, args: argparse.Namespace, settings: Settings) -> None:
    from ..projects.types import key_json

    found = await every_key(directory, args.project, active=not args.all)
    now = datetime.now(UTC)
    if args.json:
        print(json.dumps([key_json(key, now) for key in found], indent=2))
    elif found:
        print(key_table(found, now))
    else:
        print("There are no keys." if args.all else "There are no active keys (--all shows the others).")


async def _display(directory: Directory, args: argparse.Namespace, settings: Settings) -> None:
    from ..projects.types import key_json

    key = await directory.key(args.id)
    _show(args, key, details(key_json(key, datetime.now(UTC))))


async def every_key(directory: Directory, project: str | None, *, active: bool) -> list[Key]:
    found: list[Key] = []
    after: str | None = None
    while True:
        page = await directory.keys(project=project, after=after, limit=500, active=active)
        found += page.items
        if (after := page.next) is None:
            return found


def key_table(found: Sequence[Key], now: datetime) -> str:
    head = ("key", "project", "name", "status", "expires", "rpm", "tpm", "concurrent", "$/day", "$/month")
    rows = [
        [
            key.id,
            key.project,
            key.name,
            key.status(now),
            "" if key.expires_at is None else _shown(key.expires_at),
            *limits(key),
        ]
        for key in found
    ]
    return table((*head, "rules", "labels"), rows)


def _issue(args: argparse.Namespace, made: NewKey, settings: Settings, said: str) -> None:
    from ..projects.types import key_json

    if args.json:
        print(json.dumps({**key_json(made.key, datetime.now(UTC)), "key": made.token}, indent=2))
        return
    base = url(settings)
    print(f"""\
{said}
Keep it now: it is stored nowhere, and never shown again.

  {made.token}

How to use it:
  curl {base}/v1/models -H "Authorization: Bearer $KEY"
  Claude Code:   ANTHROPIC_BASE_URL={base}  ANTHROPIC_AUTH_TOKEN=$KEY
  OpenAI's SDKs: OPENAI_BASE_URL={base}/v1  OPENAI_API_KEY=$KEY""")


def _show(args: argparse.Namespace, key: Key, said: str) -> None:
    from ..projects.types import key_json

    print(json.dumps(key_json(key, datetime.now(UTC)), indent=2) if args.json else said)


def _until(key: Key) -> str:
    return "" if key.expires_at is None else f", until {_shown(key.expires_at)}"


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


_ACTIONS = {
    "create": _create,
    "list": _list,
    "show": _display,
    "set": _set,
    "rotate": _rotate,
    "revoke": _revoke,
}
