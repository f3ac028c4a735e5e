"""``/api/generate`` of the simulated Ollama: what the real one refuses, ignores and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perf.simulated import SimulatedUpstream

from .ollama_requests import PNG, ask, client, into

pytestmark = pytest.mark.anyio

CODER = "qwen2.5-coder:7b-instruct"


def generate(**fields: Any) -> dict[str, Any]:
    """A plain request with ``fields`` changed; ``None`` takes a field out."""
    body = {"model": CODER, "prompt": "hello", "stream": False, **fields}
    return {key: value for key, value in body.items() if value is not None}


def said(*, strict: bool = True, **fields: Any) -> tuple[int, Any]:
    return ask(generate(**fields), "/api/generate", strict=strict)


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"model": "nope"}, 404, "model 'nope' not found"),
    ({"model": None}, 404, "model '' not found"),
    ({"model": "a b"}, 400, "invalid model name"),
    ({"prompt": 5}, 400, into("number", "GenerateRequest.prompt", "string")),
    ({"suffix": ["a"]}, 400, into("array", "GenerateRequest.suffix", "string")),
    ({"raw": "yes"}, 400, into("string", "GenerateRequest.raw", "bool")),
    ({"context": ["a"]}, 400, into("string", "GenerateRequest.context", "int")),
    ({"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ({"raw": True, "system": "x"}, 400, "raw mode does not support template, system, or context"),
    ({"raw": True, "context": [1]}, 400, "raw mode does not support template, system, or context"),
    ({"think": True}, 400, f'"{CODER}" does not support thinking'),
    ({"model": "nomic-embed-text"}, 400, '"nomic-embed-text" does not support generate'),
    ({"model": "llama3.1:8b", "suffix": "x"}, 400, "library/llama3.1:8b does not support insert"),
    ({"options": {"num_predict": "5"}}, 500, 'option "num_predict" must be of type integer'),
    ({"format": "yaml"}, 500, "invalid format"),
    ({"raw": True, "suffix": "x"}, 400, "simulation: a raw prompt is passed on without its suffix"),
    ({"images": [PNG]}, 400, "sees no images"),
    ({"prompt": "word " * 9_000, "truncate": False}, 400, "exceeds the available context size (4096 tokens)"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "status", "message"), REFUSED)
def test_what_the_real_one_refuses_is_refused(fields: dict[str, Any], status: int, message: str) -> None:
    got, answer = said(**fields)
    assert (got, message in answer["error"]) == (status, True), answer


def test_without_strictness_what_has_no_effect_passes() -> None:
    assert said(strict=False, raw=True, suffix="x")[0] == 200
    assert said(strict=False, images=[PNG])[0] == 200


def test_a_whole_answer_is_one_object() -> None:
    status, answer = said(options={"num_predict": 5})
    assert status == 200
    assert answer["response"].startswith("You said")
    assert (answer["done"], answer["done_reason"], answer["eval_count"]) == (True, "length", 5)
    assert answer["context"]
    assert "message" not in answer
    assert "context" not in said(raw=True)[1]


def test_no_prompt_loads_and_unloads() -> None:
    assert said(prompt=None)[1]["done_reason"] == "load"
    assert said(prompt="", suffix="x")[1]["done_reason"] == "load"
    assert said(prompt="", keep_alive=0)[1]["done_reason"] == "unload"


async def test_a_stream_is_lines_of_responses() -> None:
    async with SimulatedUpstream() as sim, client(sim) as http:
        asked = generate(model="qwen3:8b", stream=None, context=None, tool_choice="auto")
        answer = await http.post("/api/generate", json=asked)
        assert answer.headers["content-type"] == "application/x-ndjson"
        *parts, last = [json.loads(line) for line in answer.text.splitlines()]
        assert all(list(part)[:3] == ["model", "created_at", "response"] for part in parts)
        assert any(part.get("thinking") for part in parts)
        assert "You said" in "".join(part["response"] for part in parts)
        assert (last["response"], last["done"], last["done_reason"]) == ("", True, "stop")
        assert sim.requests[-1].notes["ignored_fields"] == ["tool_choice"]
        # Raw, nothing asks it to think.
        raw = await http.post("/api/generate", json=generate(model="qwen3:8b", raw=True, stream=None))
        assert b"thinking" not in raw.content
        assert sim.requests[-1].notes["raw"]


async def test_what_is_too_long_is_cut_without_a_word_unless_that_is_forbidden() -> None:
    async with SimulatedUpstream() as sim, client(sim) as http:
        long = generate(prompt="word " * 9_000)
        assert (await http.post("/api/generate", json=long)).status_code == 200
        notes = sim.requests[-1].notes
        assert notes["prompt_cut"]
        assert (notes["num_ctx"], notes["num_ctx_set"]) == (4096, False)
        roomy = {**long, "truncate": False, "shift": False, "options": {"num_ctx": 16_384}}
        assert (await http.post("/api/generate", json=roomy)).status_code == 200
        assert "prompt_cut" not in sim.requests[-1].notes
        assert sim.requests[-1].notes["loads"] == 2
