"""Codex with a catalogue that knows the model: patches come as a custom tool with a grammar."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from . import install
from .client import ANSWER, Call, Client, Place, Shows
from .coding import RESPONSES, Codex, patch
from .scenes import EDITED, NEW, Scene
from .stage import Run


class CodexWithCatalogue(Codex):
    """``model_catalog_json`` tells Codex what it may do with a model; freeform patches among it."""

    def command(self, place: Place, prompt: str) -> list[str]:
        levels = [{"effort": effort, "description": effort} for effort in ("low", "medium", "high")]
        model = {
            "slug": place.model,
            "display_name": "Opus",
            "description": "Claude, through the gateway",
            "base_instructions": "You are Codex, a coding agent.",
            "apply_patch_tool_type": "freeform",
            "shell_type": "shell_command",
            "visibility": "list",
            "supported_in_api": True,
            "priority": 1,
            "context_window": 200_000,
            "input_modalities": ["text", "image"],
            "truncation_policy": {"mode": "tokens", "limit": 10_000},
            "supports_parallel_tool_calls": True,
            "support_verbosity": False,
            "default_reasoning_level": "medium",
            "supported_reasoning_levels": levels,
            "supports_reasoning_summaries": True,
            "experimental_supported_tools": [],
        }
        command = super().command(place, prompt)
        settings = place.home / "codex" / "config.toml"
        catalogue = place.home / "models.json"
        catalogue.write_text(json.dumps({"models": [model]}))
        settings.write_text(f'model_catalog_json = "{catalogue}"\n{settings.read_text()}')
        return command

    def writes(self, path: Path, old: str, new: str) -> Call:
        return Call("apply_patch", {"input": patch(path, old, new)})


CLIENT: Client = CodexWithCatalogue(
    "Codex with a catalogue", "@openai/codex", install.CODEX, RESPONSES, Shows(thinking="replayed")
)


def test_a_patch_in_a_grammar_is_a_text_for_codex_and_a_tool_for_claude(
    played: Callable[[Client, Scene], Run],
) -> None:
    run = played(CLIENT, EDITED)
    assert run.returncode == 0, run
    assert run.files["notes.txt"] == f"{NEW}\n", run
    assert ANSWER in run.output, run
    assert not run.refused, run
    last = run.to(RESPONSES)[-1].body
    offered = [tool for tool in last["tools"] if tool.get("name") == "apply_patch"]
    assert [tool["type"] for tool in offered] == ["custom"], run
    called = [item for item in last["input"] if item["type"] == "custom_tool_call"]
    assert [item["input"] for item in called] == [patch(Path("notes.txt"), "old words", NEW)], run
    body = run.at("/v1/messages")[-1]["body"]
    tool = next(tool for tool in body["tools"] if tool["name"] == "apply_patch")
    assert list(tool["input_schema"]["properties"]) == ["input"], tool
    assert body["output_config"]["effort"] == "medium", body["output_config"]


def test_tools_in_a_namespace_are_offered_one_by_one(played: Callable[[Client, Scene], Run]) -> None:
    run = played(CLIENT, EDITED)
    spaces = [tool for tool in run.to(RESPONSES)[0].body["tools"] if tool["type"] == "namespace"]
    assert spaces, run
    inside = [f"{space['name']}__{tool['name']}" for space in spaces for tool in space["tools"]]
    offered = {tool["name"] for tool in run.at("/v1/messages")[0]["body"]["tools"]}
    assert set(inside) <= offered, offered
