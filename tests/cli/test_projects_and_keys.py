"""`gw projects` and `gw keys` on both databases: what is made works, and every refusal says why."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gw.cli._database import actor
from gw.cli.arguments import body_of
from gw.projects.keys import digest, parse
from gw.settings import Ledger
from gw.store.engine import FILE, open_engine
from gw.store.schema import audit_log, keys
from tests.services import Postgres

from .here import KEY, PEPPER, Gw


def rows_of(database: Ledger, table: Any) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        engine = open_engine(database)
        async with engine.connect() as connection:
            found = [dict(row) for row in (await connection.execute(select(table))).mappings()]
        await engine.dispose()
        return found

    return asyncio.run(read())


def test_a_project_is_made_shown_changed_and_archived(gw: Gw) -> None:
    made = gw(
        *("projects", "create", "research", "--name", "The research", "--rpm", "120", "--tpm", "5000"),
        *("--concurrent", "4", "--daily-budget", "0.000000001", "--monthly-budget", "200.5", "--json"),
        *("--models", "claude-haiku-*, local:*", "--default-model", "haiku", "--max-tokens", "100"),
        *("--system-prefix", "Be brief.", "--allow-tools", "Read,Write", "--block-tools", "Bash"),
        *("--cache", "off", "--label", "team=core", "--label", "cost-center=4711"),
    )
    assert made.code == 0
    assert gw("projects", "show", "research", "--json").json == {**made.json, "keys": []}
    shown = {name: made.json[name] for name in ("name", "rpm", "tpm", "concurrent", "rules", "labels")}
    assert shown == {
        "name": "The research",
        "rpm": 120,
        "tpm": 5000,
        "concurrent": 4,
        "rules": {
            "models": ["claude-haiku-*", "local:*"],
            "default_model": "haiku",
            "max_tokens": 100,
            "system_prefix": "Be brief.",
            "allowed_tools": ["Read", "Write"],
            "blocked_tools": ["Bash"],
            "cache": "off",
        },
        "labels": {"team": "core", "cost-center": "4711"},
    }
    assert (made.json["daily_budget_usd"], made.json["monthly_budget_usd"]) == ("0.000000001", "200.50")
    changed = gw(
        *("projects", "set", "research", "--rpm", "none", "--models", "none", "--label", "team=", "--json")
    ).json
    assert (changed["rpm"], changed["tpm"], changed["labels"]) == (None, 5000, {"cost-center": "4711"})
    assert "models" not in changed["rules"]
    assert changed["rules"]["max_tokens"] == 100
    assert gw("projects", "archive", "research").code == 0
    assert "research" not in gw("projects", "list").out
    assert "The research (archived)" in gw("projects", "list", "--archived").out
    assert gw("projects", "archive", "research", "--undo").code == 0
    assert [project["id"] for project in gw("projects", "list", "--json").json] == ["default", "research"]


def test_a_new_key_is_shown_once_with_how_to_use_it(gw: Gw, database: Ledger) -> None:
    said = gw("keys", "create", "default", "--name", "ci", "--expires", "90d", HOST="0.0.0.0", PORT="8123")
    assert said.code == 0
    (token,) = (line.strip() for line in said.out.splitlines() if line.strip().startswith("gw_"))
    credential = parse(token)
    assert credential is not None
    for how in ("Authorization: Bearer", "ANTHROPIC_BASE_URL=http://127.0.0.1:8123", "OPENAI_BASE_URL"):
        assert how in said.out
    (row,) = rows_of(database, keys)
    assert (row["id"], row["name"]) == (credential.id, "ci")
    assert row["digest"] == digest(PEPPER.encode(), credential.secret)
    ends = row["expires_at"] - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < ends <= timedelta(days=90)
    later = gw("keys", "list").out + gw("keys", "list", "--json").out + gw("projects", "show", "default").out
    assert credential.id in later
    assert credential.secret not in later
    assert row["digest"] not in later


def test_a_key_is_rotated_and_revoked_by_its_id_or_by_itself(gw: Gw) -> None:
    first = gw("keys", "create", "default", "--rpm", "5", "--json").json
    second = gw("keys", "rotate", first["key"], "--overlap", "1h", "--json").json
    assert (second["rotated_from"], second["rpm"]) == (first["id"], 5)
    assert second["key"] != first["key"]
    assert gw("keys", "set", second["id"], "--rpm", "9", "--expires", "12h", "--json").json["rpm"] == 9
    assert gw("keys", "set", second["id"], "--expires", "none", "--json").json["expires_at"] is None
    revoked = gw("keys", "revoke", second["id"])
    assert revoked.code == 0
    assert second["id"] in revoked.out
    assert [key["id"] for key in gw("keys", "list", "--json").json] == [first["id"]]
    assert len(gw("keys", "list", "default", "--all", "--json").json) == 2
    pasted = gw("keys", "revoke", second["key"] + "x" * 3)  # with something from the line behind it
    assert pasted.code == 0
    assert second["key"][-64:] not in pasted.out + pasted.err


def test_one_key_is_shown_by_its_id_or_by_itself_without_its_secret(gw: Gw) -> None:
    made = gw("keys", "create", "default", "--name", "ci", "--rpm", "5", "--models", "local:*", "--json").json
    shown = gw("keys", "show", made["id"])
    assert shown.code == 0
    for line in ("name          ci", "rpm           5", "rules.models  local:*", "status        active"):
        assert line in shown.out
    again = gw("keys", "show", made["key"], "--json")
    assert again.json == {name: value for name, value in made.items() if name != "key"}
    assert made["key"][-64:] not in shown.out + again.out
    assert gw("keys", "show", "nobody").code == 1


def test_who_changed_what_from_the_command_line_is_in_the_audit_log(gw: Gw, database: Ledger) -> None:
    gw("projects", "create", "a")
    key = gw("keys", "create", "a", "--json").json
    gw("keys", "revoke", key["id"])
    mine = [entry for entry in rows_of(database, audit_log) if entry["actor"] != "gateway"]
    assert {entry["actor"] for entry in mine} == {f"cli:{pwd.getpwuid(os.getuid()).pw_name}"}
    assert [entry["action"] for entry in mine] == ["project.create", "key.create", "key.revoke"]
    assert key["key"][-64:] not in repr(mine)


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert actor() == f"cli:uid-{os.getuid()}"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("projects", "show", "nobody"), 1, "There is no project 'nobody'."),
        (("keys", "create", "nobody"), 1, "There is no project 'nobody'."),
        (("keys", "list", "nobody"), 1, "There is no project 'nobody'."),
        (("keys", "revoke", "nothing"), 1, "There is no key 'nothing'."),
        (("projects", "create", "default"), 1, "already"),
        (("projects", "archive", "default"), 1, "cannot be archived"),
        (("projects", "create", "No!"), 2, "the id must be"),
        (("projects", "create", "a", "--rpm", "many"), 2, "--rpm must be a whole number"),
        (("projects", "create", "a", "--rpm", "0"), 2, "or none"),
        (("projects", "create", "a", "--daily-budget", "1e3"), 2, "--daily-budget must be dollars"),
        (("projects", "create", "a", "--models", "two words"), 2, "--models must be"),
        (("projects", "create", "a", "--cache", "on"), 2, "--cache must be one of"),
        (("projects", "create", "a", "--label", "UP=x"), 2, "--label has a name"),
        (("projects", "set", "default"), 2, "something to change"),
        (("keys", "create", "default", "--expires", "2020-01-01"), 2, "--expires must be in the future"),
        (("keys", "rotate", "x", "--overlap", "31d"), 2, "overlap"),
    ],
)
def test_every_refusal_names_its_reason_and_has_its_code(
    gw: Gw, command: tuple[str, ...], code: int, said: str
) -> None:
    done = gw(*command)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("gw: ")
    assert said in done.err


def test_without_projects_the_variable_is_named(gw: Gw, database: Ledger) -> None:
    done = gw("keys", "create", "default", ENABLE_MULTI_PROJECT="0")
    assert done.code == 2
    assert "ENABLE_MULTI_PROJECT=1" in done.err
    assert rows_of(database, keys) == []


def test_wrong_settings_are_named_before_anything_is_done(gw: Gw) -> None:
    done = gw("projects", "list", GATEWAY_API_KEY="short", PORT="x")
    assert done.code == 2
    assert "GATEWAY_API_KEY" in done.err
    assert "PORT" in done.err


def test_the_settings_of_an_env_file_are_read(gw: Gw, tmp_path: Path) -> None:
    (tmp_path / "other.env").write_text("ENABLE_MULTI_PROJECT=0\n")
    (tmp_path / "mine.env").write_text("PORT=8999\n")
    said = gw("keys", "create", "default", "--env-file", "mine.env").out
    assert "http://127.0.0.1:8999/v1" in said
    # The environment goes before the file.
    assert gw("projects", "list", "--env-file", "other.env").code == 0
    assert gw("projects", "list", "--env-file", "not-there.env").code == 2


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("command", [("projects", "list"), ("usage",), ("migrate",)])
def test_postgresql_that_is_away_is_said_in_a_line_without_its_password(
    gw: Gw, database: Ledger, postgres_server: Postgres, command: tuple[str, ...]
) -> None:
    with postgres_server.stopped():
        done = gw(*command)
    assert (done.code, done.out) == (1, "")
    assert "DATABASE_URL" in done.err
    assert len(done.err.splitlines()) == 1
    assert postgres_server.url not in done.err
    assert postgres_server.url.split(":")[2].partition("@")[0] not in done.err


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_locked_database_is_said_to_be_locked(
    gw: Gw, database: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gw.cli._database.DIRECTORY_SECONDS", 0.3)
    assert gw("projects", "list").code == 0
    assert database.data_dir is not None
    with sqlite3.connect(Path(database.data_dir) / FILE) as other:
        other.execute("BEGIN IMMEDIATE")
        done = gw("projects", "create", "a")
        other.rollback()
    other.close()
    assert done.code == 1
    assert "locked" in done.err
    assert gw("projects", "create", "a").code == 0


def test_migrate_says_where_the_database_stands(gw: Gw) -> None:
    done = gw("migrate")
    assert done.code == 0
    assert "is already at" in done.out


def test_what_commands_print_as_json_is_all_that_they_print(gw: Gw) -> None:
    gw("keys", "create", "default")
    for command in (("projects", "list"), ("projects", "show", "default"), ("keys", "list"), ("usage",)):
        done = gw(*command, "--json")
        assert (done.code, done.err) == (0, "")
        json.loads(done.out)
        assert KEY not in done.out


def test_every_option_reaches_the_request_that_it_stands_for() -> None:
    from gw.cli import parser
    from gw.projects.parse import project_from_json

    given = parser().parse_args(
        [
            *(
                "projects",
                "create",
                "a",
                "--rpm",
                "1",
                "--tpm",
                "2",
                "--concurrent",
                "3",
                "--max-tokens",
                "4",
            ),
            *("--daily-budget", "5", "--monthly-budget", "6", "--models", "m", "--default-model", "d"),
            *("--system-prefix", "s", "--allow-tools", "t", "--block-tools", "b", "--cache", "shared"),
            *("--name", "n", "--label", "l=x"),
        ]
    )
    spec = project_from_json({"id": "a", **body_of(given)})
    rules = spec.rules
    assert (spec.name, spec.rpm, spec.tpm, spec.concurrent) == ("n", 1, 2, 3)
    assert (spec.daily_budget_nano, spec.monthly_budget_nano) == (5 * 10**9, 6 * 10**9)
    assert (rules.models, rules.default_model, rules.max_tokens) == (("m",), "d", 4)
    assert (rules.system_prefix, rules.allowed_tools, rules.blocked_tools) == ("s", ("t",), ("b",))
    assert (rules.cache, spec.labels) == ("shared", {"l": "x"})
