"""The directory on SQLite and PostgreSQL: every change is whole, counted and written into the audit log."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.projects.directory import DAY, MAX_OVERLAP, Directory
from gw.projects.keys import digest, parse
from gw.projects.parse import key_from_json, project_from_json
from gw.projects.types import Conflict, Invalid, Key, NotFound, Unavailable, key_json, project_json
from gw.settings import Ledger
from gw.store.engine import open_engine
from gw.store.schema import audit_log, directory_version, keys

pytestmark = pytest.mark.anyio

PEPPER = b"a-pepper-of-the-tests-0123456789"
WHO = "admin:test"
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(engine: AsyncEngine, clock: Clock) -> Directory:
    return Directory(engine, PEPPER, clock=clock)


async def all_of(engine: AsyncEngine, table: Any) -> list[dict[str, Any]]:
    async with engine.connect() as connection:
        rows = (await connection.execute(select(table))).mappings().all()
    return [dict(row) for row in rows]


async def version(engine: AsyncEngine) -> int:
    found = await all_of(engine, directory_version)
    return int(found[0]["version"]) if found else 0


async def made_key(directory: Directory, project: str = "default", **more: Any) -> Key:
    return (await directory.create_key(project, key_from_json(more), actor=WHO)).key


async def test_the_default_project_is_there_before_anybody_made_it(
    directory: Directory, engine: AsyncEngine
) -> None:
    assert (await directory.project("default")).id == "default"
    assert [project.id for project in (await directory.projects()).items] == ["default"]
    (entry,) = await all_of(engine, audit_log)
    assert (entry["actor"], entry["action"]) == ("gateway", "project.create")
    with pytest.raises(Conflict, match="already"):
        await directory.create_project(project_from_json({"id": "default"}), actor=WHO)


async def test_what_was_made_is_what_is_found(directory: Directory) -> None:
    spec = project_from_json({"id": "a", "rpm": 5, "daily_budget_usd": "0.000000001", "labels": {"x": "y"}})
    made = await directory.create_project(spec, actor=WHO)
    assert await directory.project("a") == made
    assert made.daily_budget_nano == 1
    new = await directory.create_key("a", key_from_json({"name": "ci", "rules": {"cache": "off"}}), actor=WHO)
    assert await directory.key(new.key.id) == new.key
    assert new.key.rules.cache == "off"


async def test_the_table_holds_the_hash_and_nothing_else_of_a_key(
    directory: Directory, engine: AsyncEngine
) -> None:
    made = await directory.create_key("default", key_from_json({}), actor=WHO)
    credential = parse(made.token)
    assert credential is not None
    (row,) = await all_of(engine, keys)
    assert row["digest"] == digest(PEPPER, credential.secret)
    for table in (keys, audit_log):
        assert credential.secret not in repr(await all_of(engine, table))
    assert made.token not in repr(made)
    assert row["digest"] not in repr(await all_of(engine, audit_log))


async def test_every_change_says_who_what_before_and_after(directory: Directory, engine: AsyncEngine) -> None:
    first = await directory.create_project(project_from_json({"id": "a"}), actor=WHO, request_id="req-1")
    second = await directory.update_project("a", {"rpm": 7}, actor="cli:eve", request_id=None)
    entries = [entry for entry in await all_of(engine, audit_log) if entry["subject"] == "project:a"]
    assert [(e["actor"], e["action"], e["request_id"]) for e in entries] == [
        (WHO, "project.create", "req-1"),
        ("cli:eve", "project.update", None),
    ]
    assert entries[0]["before"] is None
    assert json.loads(entries[0]["after"]) == json.loads(entries[1]["before"]) == project_json(first)
    assert json.loads(entries[1]["after"]) == project_json(second)
    assert entries[0]["at"] == first.created_at == NOW


async def test_every_change_makes_another_version_and_no_refusal_does(
    directory: Directory, engine: AsyncEngine
) -> None:
    key = await made_key(directory)
    seen = [await version(engine)]
    changes: list[Any] = [
        lambda: directory.create_project(project_from_json({"id": "a"}), actor=WHO),
        lambda: directory.update_project("a", {"rpm": 1}, actor=WHO),
        lambda: directory.archive_project("a", actor=WHO),
        lambda: directory.archive_project("a", restore=True, actor=WHO),
        lambda: directory.create_key("a", key_from_json({}), actor=WHO),
        lambda: directory.update_key(key.id, {"rpm": 1}, actor=WHO),
        lambda: directory.rotate_key(key.id, actor=WHO),
        lambda: directory.revoke_key(key.id, actor=WHO),
    ]
    for change in changes:
        await change()
        seen.append(await version(engine))
    assert seen == sorted(set(seen)), "each is greater than the one before"
    refused: list[Any] = [
        lambda: directory.create_project(project_from_json({"id": "a"}), actor=WHO),
        lambda: directory.update_project("nobody", {}, actor=WHO),
        lambda: directory.update_project("a", {"rpm": 0}, actor=WHO),
        lambda: directory.create_key("nobody", key_from_json({}), actor=WHO),
        lambda: directory.update_key(key.id, {}, actor=WHO),
        lambda: directory.rotate_key("nobody", actor=WHO),
    ]
    lines = len(await all_of(engine, audit_log))
    for change in refused:
        with pytest.raises((Conflict, NotFound, Invalid)):
            await change()
    assert await version(engine) == seen[-1]
    assert len(await all_of(engine, audit_log)) == lines


async def test_what_is_not_there_is_not_found(directory: Directory) -> None:
    for ask in (directory.project, directory.key):
        with pytest.raises(NotFound):
            await ask("'; DROP TABLE projects; --")
    with pytest.raises(NotFound):
        await directory.keys(project="nobody")
    with pytest.raises(NotFound):
        await directory.revoke_key("nobody", actor=WHO)


async def test_an_archived_project_takes_no_new_keys_until_it_is_restored(directory: Directory) -> None:
    await directory.create_project(project_from_json({"id": "a"}), actor=WHO)
    key = await made_key(directory, "a")
    archived = await directory.archive_project("a", actor=WHO)
    assert archived.archived_at == NOW
    assert await directory.archive_project("a", actor=WHO) == archived
    for refused in (
        directory.create_key("a", key_from_json({}), actor=WHO),
        directory.rotate_key(key.id, actor=WHO),
        directory.archive_project("default", actor=WHO),
    ):
        with pytest.raises(Conflict):
            await refused
    assert "a" not in [project.id for project in (await directory.projects()).items]
    assert "a" in [project.id for project in (await directory.projects(archived=True)).items]
    assert (await directory.archive_project("a", restore=True, actor=WHO)).archived_at is None
    assert (await made_key(directory, "a")).project == "a"


async def test_a_rotated_key_works_on_for_the_overlap_and_its_successor_on_the_same_terms(
    directory: Directory, clock: Clock
) -> None:
    ends = NOW + timedelta(days=90)
    old = await made_key(
        directory, name="ci", rpm=9, daily_budget_usd=3, labels={"a": "b"}, expires_at=ends.isoformat()
    )
    clock.now = NOW + timedelta(days=10)
    new = (await directory.rotate_key(old.id, overlap=3600, actor=WHO)).key
    assert (new.name, new.rpm, new.daily_budget_nano, new.labels) == ("ci", 9, 3 * 10**9, {"a": "b"})
    assert (new.rotated_from, new.id != old.id) == (old.id, True)
    assert new.expires_at == clock.now + timedelta(days=90), "it lasts as long as the old one did"
    assert (await directory.key(old.id)).expires_at == clock.now + timedelta(hours=1)


async def test_a_key_is_rotated_once_until_its_successor_is_revoked(
    directory: Directory, clock: Clock
) -> None:
    old = await made_key(directory)
    new = (await directory.rotate_key(old.id, overlap=3600, actor=WHO)).key
    clock.now += timedelta(minutes=30)
    with pytest.raises(Conflict, match=new.id):  # else the third would end with the first
        await directory.rotate_key(old.id, overlap=DAY, actor=WHO)
    assert (await directory.key(old.id)).expires_at == NOW + timedelta(hours=1)
    assert (await directory.rotate_key(new.id, overlap=DAY, actor=WHO)).key.expires_at is None
    await directory.revoke_key(new.id, actor=WHO)
    await directory.rotate_key(old.id, overlap=DAY, actor=WHO)
    assert (await directory.key(old.id)).expires_at == NOW + timedelta(hours=1), "never longer"


async def test_only_a_key_that_works_is_rotated(directory: Directory, clock: Clock) -> None:
    ended = await made_key(directory, expires_at=(NOW + timedelta(hours=1)).isoformat())
    revoked = await made_key(directory)
    await directory.revoke_key(revoked.id, actor=WHO)
    clock.now += timedelta(hours=1)
    for key, status in ((ended, "expired"), (revoked, "revoked")):
        with pytest.raises(Conflict, match=status):
            await directory.rotate_key(key.id, actor=WHO)
    for overlap in (-1, MAX_OVERLAP + 1, float("nan")):
        with pytest.raises(Invalid, match="overlap_seconds"):
            await directory.rotate_key(ended.id, overlap=overlap, actor=WHO)


async def test_a_revoked_key_stays_revoked(directory: Directory, clock: Clock) -> None:
    key = await made_key(directory)
    first = await directory.revoke_key(key.id, actor=WHO)
    clock.now += timedelta(hours=1)
    assert await directory.revoke_key(key.id, actor=WHO) == first
    with pytest.raises(Conflict, match="revoked"):
        await directory.update_key(key.id, {"expires_at": None}, actor=WHO)


async def test_an_expiry_lies_in_the_future(directory: Directory, clock: Clock) -> None:
    for past in (NOW, NOW - timedelta(days=1)):
        with pytest.raises(Invalid, match="expires_at must be in the future"):
            await made_key(directory, expires_at=past.isoformat())
    key = await made_key(directory, expires_at=(NOW + timedelta(days=1)).isoformat())
    clock.now += timedelta(days=2)
    renamed = await directory.update_key(key.id, {"name": "old"}, actor=WHO)
    assert (renamed.name, renamed.status(clock.now)) == ("old", "expired")
    assert key_json(renamed, clock.now)["status"] == "expired"


async def test_pages_hold_every_item_once_in_one_order(directory: Directory, clock: Clock) -> None:
    names = [f"p{number:02}" for number in range(7)]
    for name in names:
        await directory.create_project(project_from_json({"id": name}), actor=WHO)
        clock.now += timedelta(seconds=1)
        await made_key(directory, name)
    found: list[str] = []
    after: str | None = None
    while True:
        page = await directory.projects(after=after, limit=3)
        assert len(page.items) <= 3
        found += [project.id for project in page.items]
        if (after := page.next) is None:
            break
    assert found == ["default", *names]
    first = await directory.keys(limit=4)
    rest = await directory.keys(after=first.next, limit=4)
    assert [key.project for key in (*first.items, *rest.items)] == names, "in the order of their making"
    assert rest.next is None
    assert [key.project for key in (await directory.keys(project="p03")).items] == ["p03"]
    for limit in (0, 501):
        with pytest.raises(Invalid, match="limit"):
            await directory.projects(limit=limit)


async def test_keys_that_no_longer_work_can_be_left_out(directory: Directory, clock: Clock) -> None:
    working = await made_key(directory)
    ending = await made_key(directory, expires_at=(NOW + timedelta(hours=1)).isoformat())
    gone = await made_key(directory)
    await directory.revoke_key(gone.id, actor=WHO)
    assert {key.id for key in (await directory.keys(active=True)).items} == {working.id, ending.id}
    clock.now += timedelta(hours=1)
    assert [key.id for key in (await directory.keys(active=True)).items] == [working.id]
    assert len((await directory.keys()).items) == 3


async def test_changes_at_the_same_time_lose_none_of_each_other(
    directory: Directory, engine: AsyncEngine, database: Ledger
) -> None:
    await directory.create_project(project_from_json({"id": "a"}), actor=WHO)
    before = await version(engine)
    other_engine = open_engine(database)
    other = Directory(other_engine, PEPPER)
    try:
        await asyncio.gather(
            *(directory.update_project("a", {"labels": {f"l{n}": "x"}}, actor=WHO) for n in range(8)),
            *(other.update_project("a", {"labels": {f"m{n}": "x"}}, actor=WHO) for n in range(8)),
        )
    finally:
        await other_engine.dispose()
    assert len((await directory.project("a")).labels) == 16
    assert await version(engine) == before + 16


async def test_one_of_many_who_make_the_same_project_makes_it(directory: Directory, database: Ledger) -> None:
    other_engine = open_engine(database)
    makers = [directory, Directory(other_engine, PEPPER)] * 4
    spec = project_from_json({"id": "a"})
    done = await asyncio.gather(
        *(maker.create_project(spec, actor=WHO) for maker in makers), return_exceptions=True
    )
    await other_engine.dispose()
    assert sum(not isinstance(one, BaseException) for one in done) == 1
    assert all(isinstance(one, Conflict) for one in done if isinstance(one, BaseException))


async def test_a_database_without_tables_is_unavailable_and_no_other_error(tmp_path: Any) -> None:
    bare = open_engine(Ledger(True, str(tmp_path), None, 2**20, True, None))
    directory = Directory(bare, PEPPER)
    for ask in (directory.projects(), directory.key("k"), directory.revoke_key("k", actor=WHO)):
        with pytest.raises(Unavailable) as told:
            await ask
        assert "SELECT" not in str(told.value)
    await bare.dispose()
