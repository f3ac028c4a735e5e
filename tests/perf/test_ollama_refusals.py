"""The simulated Ollama refuses what the real one refuses, with its status and its words, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from .ollama_requests import NATIVE, PNG, TOOL, ask, calling, chat, into, user

LONG = {"messages": [user("word " * 6000)], "truncate": False}
VISION = {"model": "llama3.2-vision:11b"}

REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("no model", {"model": None}, 400, "model is required"),
    ("a blank model", {"model": " "}, 400, "model is required"),
    ("a model that was not pulled", {"model": "mistral:7b"}, 404, "model 'mistral:7b' not found"),
    ("a tag that was not pulled", {"model": "llama3.1"}, 404, "model 'llama3.1' not found"),
    ("a name that cannot be", {"model": "../etc/passwd"}, 400, "invalid model name"),
    (
        "a model in the cloud",
        {"model": "gpt-oss:120b-cloud"},
        403,
        "ollama cloud is disabled: remote model is unavailable",
    ),
    ("thinking where there is none", {"think": True}, 400, '"llama3.1:8b" does not support thinking'),
    ("a level where there is no thinking", {"think": "high"}, 400, '"llama3.1:8b" does not support thinking'),
    (
        "a level where there are none",
        {"model": "qwen3:8b", "think": "high"},
        400,
        'simulation: "qwen3:8b" knows no think levels, only true and false',
    ),
    (
        "tools where there are none",
        {"model": "codellama:13b", "tools": [TOOL]},
        400,
        "registry.ollama.ai/library/codellama:13b does not support tools",
    ),
    ("chat with an embedder", {"model": "nomic-embed-text"}, 400, '"nomic-embed-text" does not support chat'),
    (
        "images where nothing sees",
        {"messages": [user(images=[PNG])]},
        400,
        "model does not support multimodal requests.",
    ),
    (
        "images where nothing sees, natively",
        {"model": NATIVE, "messages": [user(images=[PNG])]},
        500,
        "image input is not supported",
    ),
    (
        "two images for one eye",
        {**VISION, "messages": [user(images=[PNG, PNG])]},
        500,
        "only supports one image",
    ),
    (
        "a role that is none",
        {"messages": [{"role": "developer", "content": "x"}]},
        400,
        'knows the role "developer"',
    ),
    ("too many logprobs", {"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    (
        "a format in a word",
        {"format": "yaml"},
        500,
        'invalid format: "\\"yaml\\""; expected "json" or a valid JSON Schema object',
    ),
    ("a format in a number", {"format": 5}, 500, 'invalid format: "5"; expected'),
    (
        "an option as a text",
        {"options": {"num_ctx": "8192"}},
        500,
        'option "num_ctx" must be of type integer',
    ),
    (
        "an option as a truth",
        {"options": {"temperature": True}},
        500,
        'option "temperature" must be of type float32',
    ),
    ("one stop word bare", {"options": {"stop": "END"}}, 500, 'option "stop" must be of type array'),
    (
        "stop words in numbers",
        {"options": {"stop": [1]}},
        500,
        'option "stop" must be of an array of strings',
    ),
    (
        "a prompt that does not fit",
        LONG,
        400,
        '{"error":{"code":400,"message":"request (7504 tokens) exceeds the available context size '
        '(4096 tokens), try increasing it","type":"exceed_context_size_error",'
        '"n_prompt_tokens":7504,"n_ctx":4096}}',
    ),
    (
        "one message that does not fit and must not be shifted",
        {**LONG, "truncate": True, "shift": False},
        400,
        "the prompt is longer than the context length currently available to the model;",
    ),
    (
        "a directive nobody can read",
        {"messages": [user("[sim weather=blue]")]},
        400,
        "unknown field 'weather'",
    ),
]


@pytest.mark.parametrize(
    ("fields", "status", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_the_real_one_refuses_is_refused(fields: dict[str, Any], status: int, message: str) -> None:
    got, body = ask(chat(**fields))
    assert got == status
    assert list(body) == ["error"]
    assert message in body["error"]


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("a plain request", {}),
    ("a name without its tag", {"model": "llama3.2"}),
    ("a name in another case", {"model": "LLAMA3.1:8B"}),
    ("a name in full", {"model": "registry.ollama.ai/library/llama3.1:8b"}),
    ("thinking off where there is none", {"think": False}),
    ("thinking", {"model": "qwen3:8b", "think": True}),
    ("a level", {"model": "gpt-oss:20b", "think": "max"}),
    ("JSON", {"format": "json"}),
    ("a schema", {"format": {"type": "object", "properties": {"a": {"type": "string"}}}}),
    ("no format", {"format": ""}),
    ("tools", {"tools": [TOOL]}),
    ("an image", {"model": "gemma3:12b", "messages": [user(images=[PNG])]}),
    ("a fractional num_ctx", {"options": {"num_ctx": 8192.7}}),
    ("an option nobody knows", {"options": {"mirostat": 2, "num_gqa": 8}}),
    ("fields of other APIs", {"tool_choice": "auto", "max_tokens": 5}),
    ("no messages: load it", {"messages": []}),
    ("no messages, no time: unload it", {"messages": [], "keep_alive": "0s"}),
    ("a tool's result", {"messages": [user(), {"role": "tool", "content": "4", "tool_name": "look"}]}),
    ("an endless request", {"keep_alive": -1, "options": {"num_predict": -1}}),
    ("a call whose arguments are null", calling(name="look", arguments=None)),
]


@pytest.mark.parametrize("fields", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_what_the_real_one_takes_is_taken(fields: dict[str, Any]) -> None:
    status, body = ask(chat(**fields))
    assert status == 200, body
    assert body["done"] is True


EMBEDDER = "nomic-embed-text"
EMBED: list[tuple[str, dict[str, Any], int, str]] = [
    ("no model", {"input": "x"}, 404, "model '' not found"),
    ("a stranger", {"model": "nope", "input": "x"}, 404, "model 'nope' not found"),
    ("tokens", {"model": EMBEDDER, "input": [[1, 2]]}, 400, "invalid input type"),
    ("a number", {"model": EMBEDDER, "input": 5}, 400, "invalid input type"),
    (
        "dimensions in words",
        {"model": EMBEDDER, "dimensions": "x"},
        400,
        into("string", "EmbedRequest.dimensions", "int"),
    ),
    ("a chat model", {"model": "llama3.1:8b", "input": "x"}, 501, "This server does not support embeddings."),
    (
        "a text that does not fit",
        {"model": "all-minilm", "input": ["fits", "word " * 300], "truncate": False},
        400,
        "the input length exceeds the context length",
    ),
]


@pytest.mark.parametrize(
    ("body", "status", "message"), [row[1:] for row in EMBED], ids=[row[0] for row in EMBED]
)
def test_embeddings_that_the_real_one_refuses_are_refused(body: Any, status: int, message: str) -> None:
    got, said = ask(body, "/api/embed")
    assert (got, message in said["error"]) == (status, True), said


def test_show_refuses_strangers_and_the_nameless() -> None:
    assert ask({"model": "nope"}, "/api/show") == (404, {"error": "model 'nope' not found"})
    assert ask({}, "/api/show") == (400, {"error": "model is required"})
    assert ask({"name": "llama3.2"}, "/api/show")[0] == 200  # the field's old name


def test_other_paths_and_methods_are_not_there() -> None:
    assert ask({}, "/api/create") == (404, b"404 page not found")
    assert ask(b"", "/api/chat", method="GET") == (405, b"405 method not allowed")


def test_without_strictness_roles_and_images_pass() -> None:
    assert ask(chat(messages=[{"role": "developer", "content": "x"}]), strict=False)[0] == 200
    assert ask(chat(messages=[user(images=[PNG])]), strict=False)[0] == 200
