"""``POST /api/chat``: what is refused, in the order and the words of ``ChatHandler`` (v0.33.0), and the
reply to what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from providers.simulated.replies import Planner, last_user_text

from ..program import make_plan
from ..scenario import PLAIN, Scenario, directive
from .go_json import GoError, dumps, quote
from .lines import Reply, bare, reply
from .models import OllamaModel
from .refusal import OllamaRefusal, look_up
from .requests import at_once, read_options
from .translate import message_tokens, messages_request, tools_tokens

Json = Mapping[str, Any]

#: ``llm/llama_server.go``: an answer without a limit still ends.
_OPEN_ENDED_CONTEXTS = 10

_TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, "
    "adjust the context length in settings, or use a model with a longer context length"
)
_ROLES = frozenset({"system", "user", "assistant", "tool"})


class Answer(NamedTuple):
    """``model``, ``num_ctx`` and ``shift`` are the runner that was needed; ``notes`` are for the ledger."""

    model: OllamaModel
    num_ctx: int
    shift: bool
    notes: dict[str, Any]
    scenario: Scenario
    #: The bytes of a bare JSON answer, or what is said; None with a scripted error.
    said: bytes | Reply | None = None
    unload: bool = False


def answer(request: Json, scenario: Scenario | None, *, strict: bool) -> Answer:
    """The reply to a decoded request. Raises :class:`OllamaRefusal`."""
    if not 0 <= request.get("top_logprobs", 0) <= 20:
        raise OllamaRefusal(400, "top_logprobs must be between 0 and 20")
    name = request.get("model", "")
    model = look_up(name, blank=400, blank_message="model is required")
    messages = [message or {} for message in request.get("messages") or ()]
    messages = [{**message, "role": message.get("role", "").lower()} for message in messages]
    if not messages and "keep_alive" in request and at_once(request["keep_alive"]):
        return Answer(model, 0, True, {}, PLAIN, bare(name, "unload"), unload=True)
    think = read_think(request, model, name)
    _check_capabilities(request, model, name)
    try:
        options = read_options(request.get("options") or {})
    except GoError as error:
        raise OllamaRefusal(500, str(error)) from None
    num_ctx = model.num_ctx(options.num_ctx)
    shift = request.get("shift", model.family != "deepseek2")
    notes: dict[str, Any] = {
        "model": model.name,
        "num_ctx": num_ctx,
        "num_ctx_set": options.num_ctx is not None,
        "shift": shift,
    }
    if options.unknown:
        notes["unknown_options"] = options.unknown
    if not messages:
        return Answer(model, num_ctx, shift, notes, PLAIN, bare(name, "load"))
    if strict and (scenario is None or scenario.strict):
        check_think_level(request, model)
        _check_messages(messages, model)
    check_format(request.get("format"))
    kept, prompt_tokens = _fit(request, messages, num_ctx, shift, notes)
    limit = limit_of(options.num_predict, num_ctx, prompt_tokens, shift)
    try:
        asked = messages_request(request, kept, max_tokens=limit, think=think)
        scenario = scenario or directive(last_user_text(asked)) or PLAIN
        if scenario.status >= 400:
            return Answer(model, num_ctx, shift, notes, scenario)
        plan = make_plan(Planner(), asked, scenario)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
        # A directive that nobody can read, or a schema that means nothing.
        raise OllamaRefusal(400, f"simulation: {type(error).__name__}: {error}") from None
    metrics = {"prompt_eval_count": prompt_tokens, **(scenario.usage or {})}
    return Answer(model, num_ctx, shift, notes, scenario, reply(plan, model, name, metrics))


def read_think(request: Json, model: OllamaModel, name: str) -> bool:
    """Whether it thinks: unless told not to, where it can; gpt-oss cannot be told not to."""
    asked = request.get("think")
    if not model.can("thinking"):
        if asked:
            raise OllamaRefusal(400, f"{quote(name)} does not support thinking")
        return False
    return model.family == "gptoss" or asked is None or bool(asked)


def check_think_level(request: Json, model: OllamaModel) -> None:
    """Raise a refusal of levels for a model that knows none."""
    level = request.get("think")
    if isinstance(level, str) and model.family != "gptoss":
        # The real one takes any level for `true`, and nobody learns that it meant nothing.
        problem = f"{quote(model.name)} knows no think levels, only true and false"
        raise OllamaRefusal(400, f"simulation: {problem}")


def _check_capabilities(request: Json, model: OllamaModel, name: str) -> None:
    if not model.can("completion"):
        raise OllamaRefusal(400, f"{quote(name)} does not support chat")
    if request.get("tools") and not model.can("tools"):
        raise OllamaRefusal(400, f"{model.full_name} does not support tools")


def _check_messages(messages: Sequence[Json], model: OllamaModel) -> None:
    for index, message in enumerate(messages):
        if message["role"] not in _ROLES:
            # Ollama leaves it to the model's template, which drops the message or fails.
            problem = f"messages.{index}: no template knows the role {quote(message['role'])}"
            raise OllamaRefusal(400, f"simulation: {problem}")
        images = message.get("images", ())
        if not images:
            continue
        if not model.can("vision"):
            if model.native:
                raise OllamaRefusal(500, _NO_VISION_NATIVE)
            raise OllamaRefusal(400, _NO_VISION)
        if len(images) > 1 and model.family == "mllama":
            raise OllamaRefusal(500, "this model only supports one image while more than one image requested")


def _llama_server_error(code: int, message: str, kind: str, **more: int) -> str:
    """What llama-server says, which Ollama passes on as one text."""
    return dumps({"error": {"code": code, "message": message, "type": kind, **more}}).decode()


_NO_VISION = _llama_server_error(
    400,
    "Multimodal data provided, but model does not support multimodal requests.",
    "invalid_request_error",
)
_NO_VISION_NATIVE = _llama_server_error(
    500,
    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
    "server_error",
)


def check_format(value: Any) -> None:
    """Raise the refusal of a ``format`` that is none."""
    if value is None or value in ("", "json") or isinstance(value, dict):
        return
    written = quote(dumps(value).decode())
    raise OllamaRefusal(500, f'invalid format: {written}; expected "json" or a valid JSON Schema object')


def _fit(
    request: Json, messages: Sequence[Json], num_ctx: int, shift: bool, notes: dict[str, Any]
) -> tuple[Sequence[Json], int]:
    """The messages that the model gets to see, and their tokens. What was lost is noted."""
    sizes = [message_tokens(message) for message in messages]
    fixed = tools_tokens(request)
    total = fixed + sum(sizes)
    notes["prompt_tokens"] = total
    if fits(request, total, num_ctx) and request.get("truncate", True) is False:
        return messages, total
    first, system = 0, 0  # of the messages that stay; tokens of system messages before it, which stay too
    while fixed + system + sum(sizes[first:]) > num_ctx and first < len(messages) - 1:
        system += sizes[first] if messages[first]["role"] == "system" else 0
        first += 1
    kept = [*(message for message in messages[:first] if message["role"] == "system"), *messages[first:]]
    total = fixed + system + sum(sizes[first:])
    if len(kept) < len(messages):
        notes["dropped_messages"] = len(messages) - len(kept)
    if total > num_ctx - 1:
        if not shift:
            raise OllamaRefusal(400, _TOO_LONG)
        notes["prompt_cut"] = True
        total = num_ctx - max(num_ctx // 2, 1)
    return kept, total


def fits(request: Json, tokens: int, num_ctx: int) -> bool:
    """Whether the prompt leaves room for an answer; refused if it does not and must not be truncated."""
    if request.get("truncate", True) is False and tokens >= num_ctx:
        sizes_said = f"request ({tokens} tokens) exceeds the available context size ({num_ctx} tokens)"
        message = f"{sizes_said}, try increasing it"
        kind = "exceed_context_size_error"
        raise OllamaRefusal(
            400, _llama_server_error(400, message, kind, n_prompt_tokens=tokens, n_ctx=num_ctx)
        )
    return tokens < num_ctx


def limit_of(num_predict: Any, num_ctx: int, prompt_tokens: int, shift: bool) -> int:
    """Tokens that the answer may have; without shifting, the context is a wall."""
    most = _OPEN_ENDED_CONTEXTS * num_ctx
    limit = most if num_predict is None or num_predict < 0 else min(int(num_predict), most)
    return limit if shift else min(limit, num_ctx - prompt_tokens)
