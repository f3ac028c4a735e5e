"""What the Messages API refuses, as one pure function.

The texts imitate the API's own, so that a log line from a test reads like one from production.
Sources: https://platform.claude.com/docs/en/api/errors, /docs/en/api/messages, the field types of the
anthropic SDK 2.12, and the model pages for thinking, effort, tool choice and prefill. Messages and
their blocks are judged in ``strict_messages``, tools in ``strict_tools``, schemas in ``strict_schema``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.simulated.models import SimulatedModel, find
from providers.simulated.prefix import estimate_tokens

from .refusal import Refusal, RefusedError, invalid
from .strict_messages import check_cache_control, check_conversation, check_system
from .strict_schema import check_format_schema
from .strict_thinking import BINDING_CONTROLS, check_block_binding, check_thinking_blocks
from .strict_tools import check_tool_choice, check_tools

VERSIONS = frozenset({"2023-01-01", "2023-06-01", "2026-10-21"})
CURRENT = "2026-10-21"

_COUNTABLE = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "cache_control",
        "output_config",
        "speed",
    }
)
_GA = _COUNTABLE | {
    "max_tokens",
    "stream",
    "stop_sequences",
    "metadata",
    "service_tier",
    "container",
    "diagnostics",
    "inference_geo",
    "temperature",
    "top_p",
    "top_k",
}
#: Fields that some beta adds; taken from whoever names any beta, as clients send them in bundles.
_BETA = frozenset(
    {
        "betas",
        "billing_policy",
        "compaction",
        "context_management",
        "fallback_credit_token",
        "fallbacks",
        "mcp_servers",
        "output_format",
        "safeguards",
        "thread",
    }
)
#: The beta that takes ``output_config`` on a system turn; Claude Code 2.1.330 names it and does so.
PER_TURN_CONTROL = "per-turn-control-"
_EFFORT = ("low", "medium", "high", "xhigh", "max")


def check(request: Any, headers: Mapping[str, str], *, counting: bool = False) -> Refusal | None:
    """The first reason why the API would refuse ``request``; None when it would answer.

    ``headers`` has lower-case names. ``counting`` judges ``/v1/messages/count_tokens``, which takes
    fewer fields and needs no ``max_tokens``.
    """
    try:
        version = check_headers(headers)
        if not isinstance(request, dict):
            raise invalid("Input should be a valid dictionary or object to extract fields from")
        _check_fields(request, headers, counting)
        model = _check_model(request)
        _check_sampling(request, model, version)
        if not counting:
            _check_max_tokens(request, model)
            _check_scalars(request)
        _check_thinking(request, model, headers.get("anthropic-beta", ""))
        _check_output_config(request, model)
        check_tools(request)
        check_tool_choice(request, model)
        check_system(request.get("system"))
        per_turn = PER_TURN_CONTROL in headers.get("anthropic-beta", "")
        check_conversation(request, model, current=version == CURRENT, per_turn=per_turn)
        check_thinking_blocks(request, model)
        check_cache_control(request)
        _check_length(request, model)
    except RefusedError as refused:
        return refused.refusal
    return None


def check_headers(headers: Mapping[str, str]) -> str:
    """The API version asked for. Raises :class:`RefusedError` without a key or a known version."""
    bearer = headers.get("authorization", "")
    if not headers.get("x-api-key") and not (bearer.lower().startswith("bearer ") and bearer[7:].strip()):
        raise RefusedError(Refusal(401, "authentication_error", "x-api-key header is required"))
    version = headers.get("anthropic-version")
    if not version:
        raise invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        raise invalid(f'anthropic-version: "{version}" is not a valid version')
    return version


def _check_fields(request: dict[str, Any], headers: Mapping[str, str], counting: bool) -> None:
    allowed = _COUNTABLE if counting else _GA
    if headers.get("anthropic-beta"):
        allowed = allowed | _BETA
    for name in request:
        if name not in allowed:
            raise invalid(f"{name}: Extra inputs are not permitted")
    if request.get("thread") is not None:
        # As to an organization that may not store anything: nothing is stored here.
        message = "thread: Threads are not available for this request. Send the full conversation instead."
        details = {"error_code": "thread_unsupported_request"}
        raise RefusedError(Refusal(400, "invalid_request_error", message, details))


def _check_model(request: dict[str, Any]) -> SimulatedModel:
    name = request.get("model")
    if name is None:
        raise invalid("model: Field required")
    if not isinstance(name, str) or not name:
        raise invalid("model: Input should be a valid string")
    model = find(name)
    if model is None or model.lifecycle == "retired":
        raise RefusedError(Refusal(404, "not_found_error", f"model: {name}"))
    return model


def _check_sampling(request: dict[str, Any], model: SimulatedModel, version: str) -> None:
    for name in ("temperature", "top_p", "top_k"):
        if name not in request:
            continue
        if version >= CURRENT:
            raise invalid(f"{name}: sampling parameters are not supported in API version {version}")
        default = name == "temperature" and request[name] == 1
        if not model.sampling and not default:
            raise invalid(f"`{name}` is not supported by {model.id}; remove it from the request")


def _check_max_tokens(request: dict[str, Any], model: SimulatedModel) -> None:
    value = request.get("max_tokens")
    if value is None:
        raise invalid("max_tokens: Field required")
    if not _is_int(value):
        raise invalid("max_tokens: Input should be a valid integer")
    if value < 0:
        raise invalid("max_tokens: Input should be greater than or equal to 0")
    if value > model.max_tokens:
        raise invalid(
            f"max_tokens: {value} > {model.max_tokens}, which is the maximum allowed number of output "
            f"tokens for {model.id}"
        )
    if value == 0 and request.get("stream"):
        raise invalid("stream: must be false when `max_tokens` is 0")


def _check_scalars(request: dict[str, Any]) -> None:
    if not isinstance(request.get("stream", False), bool):
        raise invalid("stream: Input should be a valid boolean")
    sequences = request.get("stop_sequences", [])
    if not isinstance(sequences, list):
        raise invalid("stop_sequences: Input should be a valid list")
    for index, sequence in enumerate(sequences):
        if not isinstance(sequence, str):
            raise invalid(f"stop_sequences.{index}: Input should be a valid string")
        if not sequence.strip():
            raise invalid("stop_sequences: each stop sequence must contain non-whitespace")
    metadata = request.get("metadata", {})
    if not isinstance(metadata, dict):
        raise invalid("metadata: Input should be a valid dictionary")
    for name, value in metadata.items():
        if name != "user_id":
            raise invalid(f"metadata.{name}: Extra inputs are not permitted")
        if value is not None and (not isinstance(value, str) or len(value) > 512):
            raise invalid("metadata.user_id: String should have at most 512 characters")
    _one_of(request, "service_tier", ("auto", "standard_only"))
    _one_of(request, "speed", ("standard", "fast", None))
    _one_of(request, "inference_geo", ("global", "us", None))


def _check_thinking(request: dict[str, Any], model: SimulatedModel, betas: str) -> None:
    config = request.get("thinking")
    if config is None:
        return
    if not isinstance(config, dict):
        raise invalid("thinking: Input should be a valid dictionary")
    kind = config.get("type")
    allowed = {"type", "display"} if kind in ("adaptive", "enabled") else {"type"}
    if kind == "enabled":
        allowed.add("budget_tokens")
    if kind not in ("adaptive", "enabled", "disabled", "between_tools"):
        raise invalid(
            "thinking: Input tag found using 'type' does not match any of the expected tags: "
            "'adaptive', 'between_tools', 'disabled', 'enabled'"
        )
    if BINDING_CONTROLS in betas and kind in ("adaptive", "enabled"):
        allowed.add("block_binding")
        check_block_binding(config.get("block_binding"), f"thinking.{kind}.block_binding")
    for name in config:
        if name not in allowed:
            raise invalid(f"thinking.{kind}.{name}: Extra inputs are not permitted")
    if config.get("display") not in (None, "summarized", "omitted"):
        raise invalid(f"thinking.{kind}.display: Input should be 'summarized' or 'omitted'")
    if kind not in model.thinking:
        raise invalid(f'"thinking.type.{kind}" is not supported for this model ({model.id}).')
    if kind == "enabled":
        _check_budget(config.get("budget_tokens"), request.get("max_tokens"))
    effort = _effort(request)
    limit = model.off_up_to
    if kind == "disabled" and limit and effort in _EFFORT and _EFFORT.index(effort) > _EFFORT.index(limit):
        raise invalid(f"thinking may only be disabled at effort {limit} or below")


def _check_budget(budget: Any, max_tokens: Any) -> None:
    if budget is None:
        raise invalid("thinking.enabled.budget_tokens: Field required")
    if not _is_int(budget) or budget < 1024:
        raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if _is_int(max_tokens) and budget >= max_tokens:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_output_config(request: dict[str, Any], model: SimulatedModel) -> None:
    config = request.get("output_config")
    if config is None:
        return
    if not isinstance(config, dict):
        raise invalid("output_config: Input should be a valid dictionary")
    for name in config:
        if name not in ("effort", "format", "task_budget"):
            raise invalid(f"output_config.{name}: Extra inputs are not permitted")
    effort = config.get("effort")
    if effort is not None:
        if effort not in _EFFORT:
            raise invalid("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
        if not model.effort:
            raise invalid("This model does not support the effort parameter.")
        if effort not in model.effort:
            raise invalid(f"output_config.effort: '{effort}' is not supported by {model.id}")
    shape = config.get("format")
    if shape is None:
        return
    if not isinstance(shape, dict) or shape.get("type") != "json_schema":
        raise invalid("output_config.format.type: Input should be 'json_schema'")
    for name in shape:
        if name not in ("type", "schema"):
            raise invalid(f"output_config.format.{name}: Extra inputs are not permitted")
    if not isinstance(shape.get("schema"), dict):
        raise invalid("output_config.format.schema: Field required")
    check_format_schema(shape["schema"], "output_config.format.schema")


def _check_length(request: dict[str, Any], model: SimulatedModel) -> None:
    """The prompt against the context window, at four characters a token."""
    size = _characters((request.get("system"), request.get("tools"), request["messages"]))
    tokens = estimate_tokens(size)
    if tokens > model.max_input_tokens:
        raise invalid(f"prompt is too long: {tokens} tokens > {model.max_input_tokens} maximum")


def _characters(value: Any) -> int:
    """Characters of all strings in ``value``, base64 files left out: they are not read as text."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return 0 if value.get("type") == "base64" else sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list | tuple) else 0


def _effort(request: dict[str, Any]) -> Any:
    config = request.get("output_config")
    return config.get("effort") if isinstance(config, dict) else None


def _one_of(request: dict[str, Any], name: str, values: tuple[Any, ...]) -> None:
    if name in request and request[name] not in values:
        raise invalid(f"{name}: Input should be one of {', '.join(map(repr, values))}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
