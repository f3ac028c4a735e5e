"""``POST /completions`` (https://platform.openai.com/docs/api-reference/completions): what is refused, and a
planned reply as ``text_completion`` objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providers.simulated.replies import Plan

from .chunks import FINISH, framed, group, head_of, joined
from .models import OpenAIModel
from .refusal import OpenAIRefusal, missing, unknown, wrong_type
from .strict_fields import flag, integer, mapping, number, stop, stream_options, text

Json = Mapping[str, Any]

#: "The maximum number of tokens that can be generated": the API's own default here.
DEFAULT_MAX_TOKENS = 16


def _prompt(value: Any, param: str, _: OpenAIModel) -> None:
    items = value if isinstance(value, list) else [value]
    inner = [token for item in items for token in (item if isinstance(item, list) else [item])]
    tokens = all(type(token) is int for token in inner)
    if not inner or not (tokens or all(isinstance(item, str) for item in items)):
        raise wrong_type(param, "a string, an array of strings or an array of tokens", value)


_FIELDS = {
    "model": text,
    "prompt": _prompt,
    "best_of": integer(0, 20),
    "echo": flag,
    "frequency_penalty": number(-2, 2),
    "logit_bias": mapping,
    "logprobs": integer(0, 5),
    "max_tokens": integer(0),
    "n": integer(1, 128),
    "presence_penalty": number(-2, 2),
    "seed": integer(-(2**63), 2**63 - 1),
    "stop": stop,
    "stream": flag,
    "stream_options": stream_options,
    "suffix": text,
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "user": text,
}


def check_model(model: OpenAIModel) -> None:
    """Raise the refusal of a model that completes no texts; of a server that has no such endpoint."""
    if "no-completions" in model.quirks:
        raise _NotFound
    if not (model.completes or model.quirks):
        what = (
            "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use "
            "v1/chat/completions?"
        )
        raise OpenAIRefusal(what, param="model", status=404)


def check_request(request: Json, model: OpenAIModel) -> None:
    """Raise the API's refusal of ``request``, which asks ``model``."""
    for name, value in request.items():
        checker = _FIELDS.get(name)
        if checker is None:
            raise unknown(name)
        if value is not None:
            checker(value, name, model)
    if request.get("prompt") is None:
        raise missing("prompt")
    if request.get("suffix") and "no-suffix" in model.quirks:
        raise OpenAIRefusal("suffix is not currently supported")  # vLLM
    if request.get("stream_options") is not None and request.get("stream") is not True:
        raise OpenAIRefusal(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    count, best_of = request.get("n") or 1, request.get("best_of")
    if best_of is not None and best_of < count:
        raise OpenAIRefusal("You requested that the server return more choices than it will generate.")
    if best_of is not None and best_of > count and request.get("stream") is True:
        raise OpenAIRefusal("You cannot stream when best_of is greater than n.")


def prompts_of(request: Json) -> list[str]:
    """Each prompt as a text; tokens stand for themselves."""
    value = request.get("prompt")
    several = isinstance(value, list) and value and not isinstance(value[0], int)
    items = value if several else [value]
    return [item if isinstance(item, str) else f"tokens {item}" for item in items or ()]


def messages_request(request: Json, model: OpenAIModel) -> dict[str, Any]:
    """What a Messages client would have asked for the same answer."""
    asked: dict[str, Any] = {
        "model": model.id,
        "max_tokens": request.get("max_tokens") or DEFAULT_MAX_TOKENS,
        "messages": [{"role": "user", "content": prompts_of(request)[0]}],
    }
    if given := request.get("stop"):
        asked["stop_sequences"] = [given] if isinstance(given, str) else given
    return asked


def completion(plan: Plan, request: Json, usage: Json) -> dict[str, Any]:
    """The answer in one piece."""
    said = joined(plan, "text") or ""
    choices = [_choice(index, echo + said, _finish(plan)) for index, echo in _choices(request)]
    return {**head_of(plan, "text_completion", "cmpl-"), "choices": choices, "usage": usage}


def frames(plan: Plan, request: Json, model: OpenAIModel, usage: Json, *, per_delta: int) -> list[bytes]:
    """The events of the stream, the last one ``[DONE]``."""
    head = head_of(plan, "text_completion", "cmpl-")
    objects: list[dict[str, Any]] = []
    for index, echo in _choices(request):
        parts = [echo] if echo else []
        for block in plan.content:
            if block["type"] == "text":
                parts += group(block["text"], per_delta)
        objects += [{**head, "choices": [_choice(index, part, None)]} for part in parts]
        objects.append({**head, "choices": [_choice(index, "", _finish(plan))]})
    return framed(objects, {**head, "choices": [], "usage": usage}, request, model)


def choice_count(request: Json) -> int:
    """How many choices are generated: all of ``best_of`` are paid for."""
    return len(prompts_of(request)) * (request.get("best_of") or request.get("n") or 1)


def _choices(request: Json) -> Iterator[tuple[int, str]]:
    """The index of each choice, and the prompt where it is echoed."""
    index = 0
    for prompt in prompts_of(request):
        for _ in range(request.get("n") or 1):
            yield index, prompt if request.get("echo") else ""
            index += 1


def _choice(index: int, said: str, finish: str | None) -> dict[str, Any]:
    return {"text": said, "index": index, "logprobs": None, "finish_reason": finish}


def _finish(plan: Plan) -> str:
    return FINISH.get(plan.stop_reason, plan.stop_reason)


class _NoEndpoint(OpenAIRefusal):
    """FastAPI's own answer for a path that it does not know."""

    def envelope(self) -> dict[str, Any]:
        return {"detail": self.message}


_NotFound = _NoEndpoint("Not Found", status=404)
