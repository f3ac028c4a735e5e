"""Real clients, each in a process of its own, against a real gateway: what README's table says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from providers.translate.reasoning_blob import unpack

from .client import ANSWER, Client, Column
from .conftest import clients
from .marks import marks
from .report import described
from .scenes import ASKED, EDITED, NEW, READS, THOUGHTS, WRITE, Scene
from .stage import Run

Played = Callable[[Client, Scene], Run]
Note = Callable[[Client, Column], None]


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Says which cell of the table a test has proven (tests/clients/report.py reads it)."""

    def record(client: Client, column: Column) -> None:
        record_property("client", f"{client.slug} {column}")

    return record


@clients()
def test_a_plain_question_is_answered(client: Client, played: Played, note: Note) -> None:
    run = played(client, ASKED)
    assert run.returncode == 0, run
    assert ANSWER in run.output, run
    assert not run.left, run
    assert run.to(client.endpoint), run
    assert not run.refused, run
    assert not run.noise, run.noise
    assert all(entry["status"] == 200 for entry in run.upstream), run
    note(client, "chat")


@clients()
def test_its_tools_change_a_file(
    client: Client, played: Played, note: Note, record_property: Callable[[str, object], None]
) -> None:
    run = played(client, EDITED)
    assert run.returncode == 0, run
    assert run.files["notes.txt"] == f"{NEW}\n", run
    assert ANSWER in run.output, run
    assert not run.left, run
    assert not run.refused, run
    assert not run.noise, run.noise
    if client.shows.tools == "yes":
        results = results_of(run.at("/v1/messages")[-1]["body"])
        assert set(results) == {*READS, WRITE}, results
        assert "old words" in results[READS[0]], results
        assert "change the notes" in results[READS[1]], results
        assert results[WRITE], results
    last = run.to(client.endpoint)[-1]
    record_property("sends", f"{client.slug} {json.dumps(described(last.headers, last.body))}")
    note(client, "tools")


@clients()
def test_thinking_comes_back_to_the_model(client: Client, played: Played, note: Note) -> None:
    run = played(client, EDITED)
    assert run.returncode == 0, run
    last = run.at("/v1/messages")[-1]
    thought = thinking_of(last["body"])
    if client.shows.thinking == "shown":
        assert THOUGHTS[0] in run.output, run
    elif client.shows.thinking == "dropped":
        assert not thought, run
        assert THOUGHTS[0].encode() not in run.to(client.endpoint)[-1].raw, run
    else:
        assert [block["thinking"] for block in thought] == list(THOUGHTS), run
        # The strict upstream has checked what they are signed for.
        assert last["status"] == 200, run
        signatures = [block["signature"] for block in thought]
        sent = told_by(run.to(client.endpoint)[-1].body)
        by_the_client = all(signature in sent for signature in signatures)
        assert by_the_client == (client.shows.thinking == "replayed"), run
    note(client, "thinking")


@clients()
def test_cache_marks_arrive_where_the_client_set_them(client: Client, played: Played, note: Note) -> None:
    run = played(client, EDITED)
    sent = [request for request in run.to(client.endpoint) if request.method == "POST"]
    arrived = run.at("/v1/messages")
    assert len(sent) == len(arrived) > 0, run
    if client.shows.cache == "sends none":
        assert not any(b"cache_control" in request.raw for request in sent), run
    else:
        assert all(marks(request.body) for request in sent), run
        for request, entry in zip(sent, arrived, strict=True):
            assert marks(entry["body"]) == marks(request.body), run
    note(client, "cache")


@clients()
def test_nothing_is_asked_of_other_hosts(client: Client, played: Played) -> None:
    for scene in (ASKED, EDITED):
        run = played(client, scene)
        assert {line.split(" ")[1] for line in run.wanted} <= client.wants, run


def results_of(body: dict[str, Any]) -> dict[str, str]:
    """The text of each tool result of a Messages request, by the id of its call."""
    return {
        block["tool_use_id"]: str(block.get("content"))
        for block in blocks_of(body, "user")
        if block["type"] == "tool_result"
    }


def thinking_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in blocks_of(body, "assistant") if block["type"] == "thinking"]


def blocks_of(body: dict[str, Any], role: str) -> list[dict[str, Any]]:
    turns = [turn["content"] for turn in body["messages"] if turn["role"] == role]
    return [block for content in turns if isinstance(content, list) for block in content]


def told_by(body: dict[str, Any]) -> str:
    """A request as text, with what its reasoning items carry."""
    items = body.get("input", ())
    carried = [unpack(item["encrypted_content"]) for item in items if item.get("type") == "reasoning"]
    return json.dumps(body) + "".join(json.dumps(blob.block) for blob in carried if blob is not None)
