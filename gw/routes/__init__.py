"""Thin handlers: read what the middlewares prepared, ask a provider, shape the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blacksheep import Application, Request, Response

from middleware._reject import Rejection

from ..catalog import Catalog
from ..dispatch import Dispatcher
from ..drain import Drain
from . import chat, completions, embeddings, health, messages, models, responses, simple
from ._http import refuse
from .admin import Admin
from .admin import mount as mount_admin


def mount(
    app: Application,
    *,
    dispatcher: Dispatcher,
    catalog: Catalog,
    drain: Drain,
    providers: Sequence[str],
    ledger: Callable[[], str] | None = None,
    admin: Admin | None = None,
) -> None:
    """Put every route of the outside contract on ``app``. ``providers`` are the names that /health shows, and
    ``ledger`` tells it how recording goes (None: nobody asks).

    ``admin``: what /admin stands on; None, and there is no /admin here.
    """
    router = app.router
    answer_chat, embed = chat.chat_completions(dispatcher), embeddings.embeddings(dispatcher)
    answer_message, count = messages.messages(dispatcher), messages.count_tokens(dispatcher)
    respond, estimate = responses.responses(dispatcher), responses.input_tokens(dispatcher)
    complete, stored = completions.completions(dispatcher), responses.stored()
    # Base URLs are often given without /v1.
    for base in ("/v1", ""):
        router.add_post(f"{base}/chat/completions", answer_chat)
        router.add_post(f"{base}/messages", answer_message)
        router.add_post(f"{base}/messages/count_tokens", count)
        router.add_post(f"{base}/responses", respond)
        router.add_post(f"{base}/responses/input_tokens", estimate)
        router.add_post(f"{base}/responses/compact", responses.compact())
        router.add_get(f"{base}/responses/{{path:response_id}}", stored)
        router.add_delete(f"{base}/responses/{{path:response_id}}", stored)
        router.add_post(f"{base}/responses/{{response_id}}/cancel", stored)
        router.add_post(f"{base}/completions", complete)
        router.add_post(f"{base}/embeddings", embed)
        router.add_get(f"{base}/models", models.list_models(catalog, dispatcher))
        router.add_get(f"{base}/models/{{path:model_id}}", models.get_model(catalog, dispatcher))
    router.add_post("/chat", simple.chat(dispatcher))
    mount_health(app, drain, providers, ledger)
    for method in ("GET", "HEAD"):
        router.add(method, "/api/hello", health.hello())
    if admin is not None:
        mount_admin(router, admin)
    router.fallback = not_found


def mount_health(
    app: Application, drain: Drain, providers: Sequence[str], ledger: Callable[[], str] | None = None
) -> None:
    """The pages that need no key, on ``app``."""
    for method in ("GET", "HEAD"):
        app.router.add(method, "/live", health.live())
        app.router.add(method, "/ready", health.ready(drain))
        app.router.add(method, "/health", health.health(drain, providers, ledger))


async def not_found(request: Request) -> Response:
    """Everything else. Names the path, since a base URL with one ``/v1`` too many is the usual cause."""
    path = request.url.path.decode("ascii", "replace")[:200]
    return refuse(
        request, Rejection(404, f"There is no {request.method} {path} on this gateway.", code="unknown_url")
    )
