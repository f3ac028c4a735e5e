"""What a person reads in each coding client when a request is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from .client import ANSWER, Client
from .coding import CODING
from .scenes import ASKED
from .stage import Stage

WRONG_KEY = "a-wrong-key-0123456789abcdef"
#: Opencode and Cline print the same words in both of their dialects.
ONCE = [client for client in CODING if not client.name.endswith("(Anthropic)")]

FolderOf = Callable[[Client], Path]


@pytest.mark.parametrize("client", ONCE, ids=lambda client: client.slug)
def test_a_wrong_key_is_called_a_wrong_key(client: Client, stage: Stage, folder_of: FolderOf) -> None:
    run = stage.run(client, folder_of(client), ASKED, key=WRONG_KEY)
    # A terminal's width breaks lines anywhere.
    assert "Incorrect API key provided" in " ".join(run.output.split()), run
    assert ANSWER not in run.output, run
    assert not run.upstream, run
    assert {line["status"] for line in run.log} == {401}, run
    # None of them tries again with a key that is wrong, apart from requests for a title.
    assert len(run.sent) <= 2, run
    assert WRONG_KEY not in str(run.log), run


@pytest.mark.parametrize("client", ONCE, ids=lambda client: client.slug)
@pytest.mark.parametrize("model", ["claude-nonesuch-9", "nonesuch"])
def test_a_model_that_is_not_there_is_named(
    client: Client, model: str, stage: Stage, folder_of: FolderOf
) -> None:
    run = stage.run(client, folder_of(client), replace(ASKED, model=model))
    said = " ".join(run.output.split()).replace("it may not exist", "does not exist")
    assert model in said, run
    assert "not exist" in said or "no provider" in said, run
    assert ANSWER not in run.output, run
    assert {line["status"] for line in run.log} == {404}, run
    assert len(run.sent) <= 2, run
