"""``GET /v1/models`` and ``GET /v1/models/{id}``: one object that both SDKs parse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from blacksheep import Request, Response

from middleware._reject import Rejection
from middleware._state import PRINCIPAL, Principal
from middleware.key_policy import rules_of
from providers.types import ModelCapabilities, ModelInfo

from ..catalog import Catalog
from ..dispatch import Dispatcher
from ._http import Handler, guarded, json_response, refuse, state_of

_THINKING = ("adaptive", "between_tools", "disabled", "enabled")
_EFFORT = ("low", "medium", "high", "xhigh", "max")


def list_models(catalog: Catalog, dispatcher: Dispatcher) -> Handler:
    """Those that the caller's key may ask for."""

    async def handle(request: Request) -> Response:
        data = [entry(model) for model in await _models(request, catalog, dispatcher)]
        page = {
            "object": "list",
            "data": data,
            "has_more": False,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
        return json_response(page)

    return guarded(handle)


def get_model(catalog: Catalog, dispatcher: Dispatcher) -> Handler:
    """One of them; any other is not there."""

    async def handle(request: Request) -> Response:
        wanted = (request.route_values or {}).get("model_id") or ""
        for model in await _models(request, catalog, dispatcher):
            if model.id == wanted:
                return json_response(entry(model))
        return refuse(
            request,
            Rejection(404, f"The model {wanted[:100]!r} does not exist here.", code="model_not_found"),
        )

    return guarded(handle)


async def _models(request: Request, catalog: Catalog, dispatcher: Dispatcher) -> list[ModelInfo]:
    found = await catalog.models()
    principal: Principal | None = state_of(request).get(PRINCIPAL)
    policy = None if principal is None else principal.policy
    allows = None if policy is None else rules_of(policy, dispatcher.canonical).allows
    if allows is None:
        return found
    return [model for model in found if allows(dispatcher.canonical(model.id) or model.id)]


def entry(model: ModelInfo) -> dict[str, Any]:
    """OpenAI's fields (``object``, ``created``, ``owned_by``) and Anthropic's (``type``, ``display_name``,
    ``created_at``, ``lifecycle`` …) side by side; each SDK ignores the other's."""
    created_at = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "id": model.id,
        "object": "model",
        "type": "model",
        "created": model.created,
        "created_at": created_at,
        "owned_by": model.provider,
        "display_name": model.display_name or model.id,
        "lifecycle": model.lifecycle,
        "retires_at": model.retires_at,
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_output_tokens,
        "provider": model.provider,
        "capabilities": capabilities(model.capabilities),
    }


def capabilities(what: ModelCapabilities) -> dict[str, Any]:
    """In the shape of Anthropic's list, with what this gateway knows of every provider's models beside it."""
    return {
        "tools": _supported(what.tools),
        "forced_tool_choice": _supported(what.tools and what.forced_tool_choice),
        "image_input": _supported(what.images),
        "pdf_input": _supported(what.pdf),
        "structured_outputs": _supported(what.structured_outputs),
        "thinking": {
            "supported": bool(what.thinking - {"disabled"}),
            "types": {kind: _supported(kind in what.thinking) for kind in _THINKING},
        },
        "effort": {
            "supported": bool(what.effort),
            **{level: _supported(level in what.effort) for level in _EFFORT},
        },
        "embeddings": _supported(what.embeddings),
    }


def _supported(yes: bool) -> dict[str, bool]:
    return {"supported": yes}
