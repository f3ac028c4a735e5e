"""The verifier on SQLite and PostgreSQL: who holds a key gets in at once, and out within seconds."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.projects.directory import Directory
from gw.projects.keys import mint
from gw.projects.parse import project_from_json
from gw.projects.types import NewKey
from gw.projects.verifier import Verifier
from gw.settings import Ledger
from gw.store.schema import keys, projects
from middleware._state import Account, Policy, Principal
from middleware.auth import AuthMiddleware, key_fingerprint
from tests.middleware.asgi import call

from .workers import (
    GATEWAY_KEY,
    PEPPER,
    WHO,
    Questions,
    ask,
    is_remembered,
    new_key,
    other_secret,
    until,
    worker,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def directory(engine: AsyncEngine) -> Directory:
    return Directory(engine, PEPPER)


@pytest.fixture
def questions(database: Ledger) -> Questions:
    return Questions(database)


@pytest.fixture
async def verifier(questions: Questions) -> AsyncIterator[Verifier]:
    async with worker(questions) as found:
        yield found


async def remembered(verifier: Verifier, made: NewKey) -> Principal:
    """Ask until the answer no longer needs the database."""
    principal = await ask(verifier, made.token)
    assert principal is not None
    await until(lambda: is_remembered(verifier, made.token))
    return principal


async def test_a_key_stands_for_its_project_with_every_limit_of_both(
    verifier: Verifier, directory: Directory
) -> None:
    spec = project_from_json(
        {"id": "a", "rpm": 60, "daily_budget_usd": 5, "rules": {"models": ["claude-*"]}, "labels": {"x": "y"}}
    )
    await directory.create_project(spec, actor=WHO)
    made = await new_key(directory, "a", rpm=6, rules={"cache": "off"})
    assert await ask(verifier, made.token) == Principal(
        "a",
        made.key.id,
        (
            Account("project:a", rpm=60, daily_budget=5 * 10**9),
            Account(f"key:{made.key.id}", rpm=6),
        ),
        Policy(models=("claude-*",), cache="off"),
        (("x", "y"),),
    )


async def test_a_key_that_differs_in_its_last_byte_is_nobodys(
    verifier: Verifier, directory: Directory
) -> None:
    made = await new_key(directory)
    assert await ask(verifier, other_secret(made.token)) is None
    assert await ask(verifier, made.token) is not None
    await until(lambda: is_remembered(verifier, made.token))
    assert await ask(verifier, other_secret(made.token)) is None
    assert await ask(verifier, made.token) is not None


async def test_two_keys_whose_secrets_are_swapped_are_nobodys(
    verifier: Verifier, directory: Directory
) -> None:
    one, other = await new_key(directory), await new_key(directory)
    mixed = one.token[:22] + other.token[22:]
    assert mixed.startswith(f"gw_{one.key.id}_")
    for _ in range(2):
        assert await ask(verifier, mixed) is None
        assert await ask(verifier, one.token) is not None
        assert await ask(verifier, other.token) is not None


async def test_a_known_key_asks_the_database_nothing(
    verifier: Verifier, directory: Directory, questions: Questions
) -> None:
    made = await new_key(directory)
    principal = await remembered(verifier, made)
    before = questions.for_keys()
    for _ in range(100):
        assert verifier(made.token) is principal or verifier(made.token) == principal
        assert verifier(other_secret(made.token)) is None
    assert questions.for_keys() == before


async def test_a_thousand_first_requests_of_a_key_are_one_question(
    verifier: Verifier, directory: Directory, questions: Questions
) -> None:
    made = await new_key(directory)
    await until(lambda: len(questions.asked) > 0)
    before = questions.for_keys()
    answers = await asyncio.gather(*(ask(verifier, made.token) for _ in range(1000)))
    assert all(answer is not None and answer.key_id == made.key.id for answer in answers)
    assert questions.for_keys() - before == 1


async def test_a_caller_who_leaves_spoils_nobody_elses_answer(
    verifier: Verifier, directory: Directory
) -> None:
    made = await new_key(directory)
    first, second = (asyncio.ensure_future(ask(verifier, made.token)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second) is not None
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_strangers_cannot_make_the_database_work(verifier: Verifier, questions: Questions) -> None:
    await until(lambda: len(questions.asked) > 0)
    before = questions.for_keys()
    stranger = b"the-pepper-of-another-gateway-000"
    for _ in range(200):
        assert await ask(verifier, mint(stranger).token) is None  # well-formed, and never made here
    assert questions.for_keys() == before
    forgotten = mint(PEPPER).token  # made here, and not in the table: of a database since restored, say
    for _ in range(50):
        assert await ask(verifier, forgotten) is None
        assert await ask(verifier, other_secret(forgotten)) is None
    assert questions.for_keys() - before <= 2


async def test_a_key_made_a_moment_after_it_was_asked_for_works_at_once(
    verifier: Verifier, directory: Directory, engine: AsyncEngine
) -> None:
    made = await new_key(directory)
    from sqlalchemy import select

    async with engine.begin() as connection:
        row = dict((await connection.execute(select(keys))).mappings().one())
        await connection.execute(keys.delete())
    assert await ask(verifier, made.token) is None
    async with engine.begin() as connection:
        await connection.execute(keys.insert().values(**row))

    async def works() -> bool:
        return await ask(verifier, made.token) is not None

    assert await until(works) < 3


@pytest.mark.parametrize("how", ["revoke", "archive", "expire"])
async def test_what_is_taken_away_is_refused_by_every_worker_within_seconds(
    how: str, directory: Directory, database: Ledger
) -> None:
    await directory.create_project(project_from_json({"id": "a"}), actor=WHO)
    made = await new_key(directory, "a")
    stays = await new_key(directory)
    # As in production: each looks once a second.
    async with (
        worker(Questions(database), poll_seconds=1.0) as one,
        worker(Questions(database), poll_seconds=1.0) as other,
    ):
        for verifier in (one, other):
            await remembered(verifier, made)
            await remembered(verifier, stays)
        if how == "revoke":
            await directory.revoke_key(made.key.id, actor=WHO)
        elif how == "archive":
            await directory.archive_project("a", actor=WHO)
        else:
            soon = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()
            await directory.update_key(made.key.id, {"expires_at": soon}, actor=WHO)

        async def refused() -> bool:
            return [await ask(one, made.token), await ask(other, made.token)] == [None, None]

        await until(refused, seconds=5)
        for verifier in (one, other):
            assert isinstance(verifier(stays.token), Principal), "nobody else waits for anything"
        if how == "archive":
            await directory.archive_project("a", restore=True, actor=WHO)

            async def taken_again() -> bool:
                return None not in (await ask(one, made.token), await ask(other, made.token))

            await until(taken_again, seconds=5)


async def test_changed_limits_hold_within_seconds_and_without_a_wait(
    verifier: Verifier, directory: Directory
) -> None:
    made = await new_key(directory)
    await remembered(verifier, made)
    await directory.update_key(made.key.id, {"rpm": 3}, actor=WHO)
    await directory.update_project("default", {"tpm": 1000}, actor=WHO)

    def changed() -> bool:
        principal = verifier(made.token)
        assert isinstance(principal, Principal), "the change makes no request wait"
        project, key = principal.accounts
        return (project.tpm, key.rpm) == (1000, 3)

    await until(changed)


async def test_a_rotated_key_works_beside_its_successor_until_its_time_is_over(
    directory: Directory, database: Ledger
) -> None:
    now = [datetime.now(UTC)]
    async with worker(Questions(database), clock=lambda: now[0].timestamp()) as verifier:
        old = await new_key(directory)
        await remembered(verifier, old)
        new = await directory.rotate_key(old.key.id, overlap=3600, actor=WHO)
        await remembered(verifier, new)

        async def knows() -> bool:
            return verifier._known[old.key.id].record.expires_at < float("inf")

        await until(knows)
        assert isinstance(verifier(old.token), Principal)
        now[0] += timedelta(hours=1, seconds=1)
        assert verifier(old.token) is None
        assert isinstance(verifier(new.token), Principal)


async def test_an_expired_key_is_refused_also_at_its_first_use(
    verifier: Verifier, directory: Directory
) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=0.2)).isoformat()
    made = await new_key(directory, expires_at=soon)
    await asyncio.sleep(0.25)
    assert await ask(verifier, made.token) is None


async def test_a_look_up_that_a_change_has_overtaken_is_not_remembered(
    verifier: Verifier, directory: Directory
) -> None:
    made = await new_key(directory)
    # Everything remembered was asked again at this version, while an answer of an older one was under way.
    await until(lambda: verifier._version > 0)
    verifier._version += 5
    assert await ask(verifier, made.token) is not None
    assert made.key.id not in verifier._known


async def test_no_more_keys_are_remembered_than_there_is_room_for(
    directory: Directory, database: Ledger
) -> None:
    async with worker(Questions(database), capacity=2) as verifier:
        one, two, three = [await new_key(directory) for _ in range(3)]
        await remembered(verifier, one)
        await remembered(verifier, two)
        assert isinstance(verifier(one.token), Principal)  # so that `two` is the one not used for longest
        await remembered(verifier, three)
        assert set(verifier._known) == {one.key.id, three.key.id}
        assert await ask(verifier, two.token) is not None


async def test_the_gateways_own_key_is_the_default_project_with_its_limits(
    verifier: Verifier, directory: Directory
) -> None:
    own = verifier(GATEWAY_KEY)
    assert isinstance(own, Principal)
    assert (own.project, own.key_id) == ("default", key_fingerprint(GATEWAY_KEY))
    assert [account.id for account in own.accounts] == ["project:default", f"key:{own.key_id}"]
    await directory.update_project("default", {"monthly_budget_usd": 7}, actor=WHO)

    def limited() -> bool:
        principal = verifier(GATEWAY_KEY)
        assert isinstance(principal, Principal)
        return principal.accounts[0].monthly_budget == 7 * 10**9

    await until(limited)
    assert verifier(GATEWAY_KEY[:-1] + "x") is None


async def test_a_worker_that_starts_knows_the_limits_of_the_gateways_own_key_from_the_first_request(
    directory: Directory, questions: Questions
) -> None:
    await directory.update_project("default", {"daily_budget_usd": 3}, actor=WHO)
    verifier = Verifier(questions, PEPPER, GATEWAY_KEY)
    verifier.start()
    try:
        own = await ask(verifier, GATEWAY_KEY)
        assert own is not None
        assert own.accounts[0].daily_budget == 3 * 10**9
        assert isinstance(verifier(GATEWAY_KEY), Principal)  # nobody waits from then on
    finally:
        await verifier.stop()


async def test_a_row_that_cannot_be_read_is_an_error_of_its_own_key_alone(
    verifier: Verifier, directory: Directory, engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    await directory.create_project(project_from_json({"id": "a"}), actor=WHO)
    broken, fine = await new_key(directory, "a"), await new_key(directory)
    for made in (broken, fine):
        await remembered(verifier, made)
    async with engine.begin() as connection:
        await connection.execute(projects.update().where(projects.c.id == "a").values(rules='{"models": 5}'))
    await directory.update_project("default", {"rpm": 5}, actor=WHO)
    await until(lambda: broken.key.id not in verifier._known)
    assert isinstance(verifier(fine.token), Principal)
    app = AuthMiddleware(_refused, verify=verifier)
    assert (await call(app, headers={"x-api-key": broken.token})).status == 503
    assert broken.key.id in caplog.text


async def test_no_secret_stays_in_the_verifiers_memory(verifier: Verifier, directory: Directory) -> None:
    made = await new_key(directory)
    token, secret = made.token, made.token[-64:]
    await remembered(verifier, made)
    gc.collect()
    for known in verifier._known.values():
        assert secret not in repr(known)
        assert token.encode() not in known.mark
    assert secret not in repr(vars(verifier))
    assert GATEWAY_KEY not in repr(vars(verifier))


async def _refused(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("nobody gets here")
