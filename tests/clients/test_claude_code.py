"""What Claude Code asks of a gateway beyond a conversation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .client import Client
from .coding import CODING, MESSAGES
from .scenes import ASKED, EDITED, Scene
from .stage import Run, Stage

CLAUDE_CODE = CODING[0]


def test_its_requests_arrive_byte_for_byte(played: Callable[[Client, Scene], Run]) -> None:
    run = played(CLAUDE_CODE, EDITED)
    sent, arrived = run.to(MESSAGES), run.at(MESSAGES)
    assert len(sent) == len(arrived) == 3, run
    for request, entry in zip(sent, arrived, strict=True):
        assert request.digest == entry["body_sha256"], run
        assert entry["path"] == request.path == "/v1/messages?beta=true", run
        for name in ("anthropic-beta", "anthropic-version", "x-claude-code-session-id"):
            assert entry["headers"][name] == request.headers[name], run
        # The key of the gateway's own door is nobody else's.
        assert "authorization" in request.headers, run
        assert "authorization" not in entry["headers"], run


def test_the_context_command_counts_tokens_with_claude(
    stage: Stage, folder_of: Callable[[Client], Path]
) -> None:
    run = stage.run(CLAUDE_CODE, folder_of(CLAUDE_CODE), replace(ASKED, prompt="/context", play=_nothing))
    counted = run.at("/v1/messages/count_tokens")
    assert counted, run
    assert {entry["status"] for entry in counted} == {200}, run
    assert not run.refused, run
    assert "Context Usage" in run.output, run


def _nothing(client: Client, project: Path) -> list[dict[str, object]]:
    return []
