"""A client of each dialect edits a project with a model that is not Claude, and notices no difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .catalog import CLIENTS
from .client import ANSWER, Client
from .scenes import EDITED_COMPATIBLY, EDITED_LOCALLY, EDITED_WITH_TEMPLATES, NEW, THOUGHTS, Scene
from .stage import Run

NAMED = {client.slug: client for client in CLIENTS}
#: One of each dialect. (opencode gives models called GPT other tools.)
PAIRS = [
    *((NAMED[slug], EDITED_LOCALLY) for slug in ("claude-code", "codex", "opencode")),
    *((NAMED[slug], EDITED_COMPATIBLY) for slug in ("claude-code", "codex", "continue-cli")),
    *((NAMED["claude-code"], scene) for scene in EDITED_WITH_TEMPLATES),
]


@pytest.mark.parametrize(
    ("client", "scene"),
    PAIRS,
    ids=[f"{client.slug}-{scene.model}" for client, scene in PAIRS],
)
def test_its_tools_change_a_file_for_any_model(
    client: Client, scene: Scene, played: Callable[[Client, Scene], Run]
) -> None:
    run = played(client, scene)
    assert run.returncode == 0, run
    assert run.files["notes.txt"] == f"{NEW}\n", run
    assert ANSWER in run.output, run
    assert not run.left, run
    assert not run.refused, run
    assert run.to(client.endpoint), run
    messages = run.at(scene.upstream)[-1]["body"]["messages"]
    results = [message["content"] for message in messages if message["role"] == "tool"]
    assert len(results) == 3, messages
    assert any("old words" in result for result in results), results
    assert any("change the notes" in result for result in results), results
    if scene is EDITED_LOCALLY:
        assert thoughts_of(messages) == list(THOUGHTS), messages


@pytest.mark.parametrize("client", [NAMED["claude-code"]], ids=lambda client: client.slug)
def test_what_only_anthropic_reads_does_not_reach_a_local_model(
    client: Client, played: Callable[[Client, Scene], Run]
) -> None:
    run = played(client, EDITED_LOCALLY)
    assert b"x-anthropic-billing-header" in run.to(client.endpoint)[0].raw
    for entry in run.at("/api/chat"):
        assert "x-anthropic-billing-header" not in str(entry["body"])
        assert not entry["notes"].get("ignored_fields"), entry["notes"]


def thoughts_of(messages: list[dict[str, Any]]) -> list[str]:
    return [message["thinking"] for message in messages if message.get("thinking")]
