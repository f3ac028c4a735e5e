"""``POST /api/generate``: what is refused, in the order and the words of ``GenerateHandler`` (v0.33.0), and
the reply to what is not. Images and models that make images are not played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from providers.simulated.prefix import estimate_tokens
from providers.simulated.replies import Planner, last_user_text

from ..program import make_plan
from ..scenario import PLAIN, Scenario, directive
from .chat import Answer, check_format, check_think_level, fits, limit_of, read_think
from .go_json import GoError, quote
from .lines import Reply, reply
from .models import OllamaModel
from .refusal import OllamaRefusal, look_up
from .requests import at_once, read_options

Json = Mapping[str, Any]

#: What a template puts around a prompt, or around prompt and suffix.
_TEMPLATE_TOKENS = 8
#: Stands for the tokens of prompt and answer: it is deprecated, and nobody here sends it back.
_CONTEXT = [1, 2, 3]


@dataclass(slots=True, frozen=True)
class Generated(Reply):
    """The parts in the lines of ``GenerateResponse``."""

    def _line(self, number: int, fields: Json) -> bytes:
        said = fields["message"]
        shown = {"response": said["content"]} | ({"thinking": said["thinking"]} if "thinking" in said else {})
        rest = {key: value for key, value in fields.items() if key != "message"}
        return self._written(number, {**shown, "done": False} | rest)


def answer(request: Json, scenario: Scenario | None, *, strict: bool) -> Answer:
    """The reply to a decoded request. Raises :class:`OllamaRefusal`."""
    if not 0 <= request.get("top_logprobs", 0) <= 20:
        raise OllamaRefusal(400, "top_logprobs must be between 0 and 20")
    name = request.get("model", "")
    model = look_up(name, blank=404, blank_message=f"model '{name}' not found")
    prompt, suffix, raw = request.get("prompt", ""), request.get("suffix", ""), request.get("raw", False)
    if not prompt and "keep_alive" in request and at_once(request["keep_alive"]):
        return Answer(model, 0, True, {}, PLAIN, _bare(name, "unload"), unload=True)
    if raw and (request.get("template") or request.get("system") or request.get("context")):
        raise OllamaRefusal(400, "raw mode does not support template, system, or context")
    think = read_think(request, model, name)
    if not model.can("completion"):
        raise OllamaRefusal(400, f"{quote(name)} does not support generate")
    if suffix and not model.can("insert"):
        raise OllamaRefusal(400, f"{model.full_name} does not support insert")
    try:
        options = read_options(request.get("options") or {})
    except GoError as error:
        raise OllamaRefusal(500, str(error)) from None
    num_ctx = model.num_ctx(options.num_ctx)
    shift = request.get("shift", True)
    notes: dict[str, Any] = {
        "model": model.name,
        "num_ctx": num_ctx,
        "num_ctx_set": options.num_ctx is not None,
        "shift": shift,
        "raw": raw,
    }
    if options.unknown:
        notes["unknown_options"] = options.unknown
    if not prompt:
        return Answer(model, num_ctx, shift, notes, PLAIN, _bare(name, "load"))
    if strict and (scenario is None or scenario.strict):
        check_think_level(request, model)
        _check_shape(request, model)
    check_format(request.get("format"))
    tokens = estimate_tokens(len((prompt + suffix).encode())) + (0 if raw else _TEMPLATE_TOKENS)
    notes["prompt_tokens"] = tokens
    if not fits(request, tokens, num_ctx):
        notes["prompt_cut"] = True
        tokens = num_ctx - max(num_ctx // 2, 1)
    limit = limit_of(options.num_predict, num_ctx, tokens, shift)
    try:
        # Raw, nothing tells the model to think.
        asked = _messages_request(request, prompt, max_tokens=limit, think=think and not raw)
        scenario = scenario or directive(last_user_text(asked)) or PLAIN
        if scenario.status >= 400:
            return Answer(model, num_ctx, shift, notes, scenario)
        plan = make_plan(Planner(), asked, scenario)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise OllamaRefusal(400, f"simulation: {type(error).__name__}: {error}") from None
    said = reply(plan, model, name, {"prompt_eval_count": tokens, **(scenario.usage or {})})
    context = {} if raw else {"context": _CONTEXT}
    last = {key: said.last[key] for key in ("message", "done", "done_reason")} | context | said.last
    return Answer(model, num_ctx, shift, notes, scenario, Generated(name, said.parts, last, said.error))


def _check_shape(request: Json, model: OllamaModel) -> None:
    """What the real one takes without a word, and does not do."""
    if request.get("raw") and request.get("suffix"):
        raise OllamaRefusal(400, "simulation: a raw prompt is passed on without its suffix")
    if request.get("images") and not model.can("vision"):
        raise OllamaRefusal(400, f"simulation: {quote(model.name)} sees no images")


def _messages_request(request: Json, prompt: str, *, max_tokens: int, think: bool) -> dict[str, Any]:
    """What a Messages client would have asked for the same answer."""
    asked: dict[str, Any] = {
        "model": request["model"],
        "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": prompt}],
    }
    if think:
        asked["thinking"] = {"type": "enabled"}
    if schema := request.get("format"):
        shape = schema if isinstance(schema, dict) else {"type": "object"}
        asked["output_config"] = {"format": {"type": "json_schema", "schema": shape}}
    if stop := (request.get("options") or {}).get("stop"):
        asked["stop_sequences"] = stop
    return asked


def _bare(name: str, done_reason: str) -> bytes:
    """The answer to no prompt: the model was loaded or unloaded."""
    last = {"message": {"content": ""}, "done": True, "done_reason": done_reason}
    return Generated(name, (), last).whole()
