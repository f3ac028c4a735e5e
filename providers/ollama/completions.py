"""A request to complete a text (``/v1/completions``) → a request to Ollama's native ``/api/generate``.

A prompt alone goes up ``raw``: the model continues just what stands there, which for a client of this
API is often a prompt for filling in the middle that it has put together itself. Without ``raw`` Ollama would
make a turn of a chat of it. With a ``suffix`` the model's own template puts the two together, which it has if
its ``capabilities`` hold ``insert`` (https://docs.ollama.com/api/generate, ``GenerateHandler`` in ollama's
``server/routes.go``). Nothing is ever truncated, as with a chat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..translate import _check, params
from ..translate.chat_anthropic import ReplyShape
from ..translate.chat_ollama import SAMPLING, OllamaRequest, read_options
from ..types import ModelInfo

#: Parameters that have an effect here; everything else that is given is left out and named.
_USED = frozenset(
    ("model", "prompt", "suffix", "max_tokens", "stream", "stream_options", "n", "stop", "echo", *SAMPLING)
)


def to_generate(
    body: Mapping[str, Any],
    *,
    model: str,
    info: ModelInfo,
    max_tokens_defaulted: bool = False,
    default_max_tokens: int = 1_200,
) -> OllamaRequest:
    """The request that asks ``model``, which behaves as ``info`` says, to complete what ``body`` asks.

    Raises ``BadRequest`` with ``param`` naming the place for everything that is wrong with ``body``.
    """
    params.check_single(body)
    reply = ReplyShape(include_usage=params.include_usage(body))
    prompt = read_prompt(body)
    suffix = "" if body.get("suffix") is None else _check.text(body["suffix"], "suffix")
    can = info.capabilities
    if suffix and not can.insert:
        raise _check.invalid(
            "suffix",
            f"The model {model[:100]!r} cannot fill in what stands before a `suffix`: choose one that can, "
            "or leave it out.",
            "unsupported_value",
        )
    options = read_options(body)
    options["num_predict"] = params.read_max_tokens(
        body,
        params.Thinking(),
        defaulted=max_tokens_defaulted,
        default=default_max_tokens,
        cap=info.max_output_tokens,
        has_tools=False,
    )
    out: dict[str, Any] = {
        "model": model,
        "prompt": prompt,
        "stream": True,
        "truncate": False,
        "shift": False,
    }
    if suffix:
        # Ollama takes an empty prompt for the wish to load the model. At the beginning of a file it means
        # the same as an empty line.
        out |= {"prompt": prompt or "\n", "suffix": suffix}
    elif not prompt:
        raise _check.invalid("prompt", "`prompt` is empty: there is nothing to go on from.")
    else:
        out["raw"] = True
    if "disabled" in can.thinking:
        out["think"] = False  # there is no place for it in the answer
    return OllamaRequest(out, options, params.dropped(body, _USED, {}), reply)


def read_prompt(body: Mapping[str, Any]) -> str:
    """The one prompt of ``body``. Raises ``BadRequest``."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    if prompt is None:
        raise _check.invalid("prompt", "`prompt` is missing.", "missing_required_parameter")
    items = prompt if isinstance(prompt, list) else [prompt]
    if items and all(isinstance(item, str) for item in items):
        raise _check.invalid("prompt", "Only one prompt can be completed at a time.", "unsupported_value")
    if items and all(isinstance(item, int | list) for item in items):
        said = "`prompt` must be a text here: the tokens of another model mean nothing to this one."
        raise _check.invalid("prompt", said, "unsupported_value")
    raise _check.invalid("prompt", "`prompt` must be a string.", "invalid_type")


def read_echo(body: Mapping[str, Any]) -> str:
    """What the completion begins with: the prompt, where ``echo`` asks for it. Raises ``BadRequest``."""
    echo = body.get("echo")
    return read_prompt(body) if echo is not None and _check.boolean(echo, "echo") else ""
