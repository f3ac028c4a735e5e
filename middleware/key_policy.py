"""What a key may ask for: which models and tools, how long an answer, under which system prompt.

Reads:   ``state["gateway.principal"]``: its ``policy``; if there is one the body of POSTs to model paths
         (shared, see ``_body.py``)
Writes:  the body: ``model`` when the request names none, a lower bound of the answer, the policy's text
         before the system prompt; 403 ``model_not_allowed`` and ``tool_not_allowed``, 400 for what cannot
         be judged
Streams: not touched
Limits:  tools are known by the parameters and the shapes that the dialects have for them; what an upstream
         of your own reads from a parameter of its own is not seen

What is judged is what will be read: a key that stands twice in the body is refused, and a request whose tools
were looked at goes on as it was parsed, not as it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from ._asgi import ASGIApp, Receive, Scope, Send
from ._body import BodyError, ClientDisconnected, read_body
from ._chat import CHAT_PATHS, COUNT_PATHS, EMBEDDING_PATHS, STREAM_PATHS, view
from ._paths import canonical as canonical_path
from ._paths import remembered
from ._reject import FINAL, OnReject, Rejection, dialect_of, reject_json
from ._state import PRINCIPAL, Policy, Principal
from .policy.json_keys import repeated_key
from .policy.patterns import matcher
from .policy.rewrites import WrongType, bounded, prefixed
from .policy.tools import Tool, WrongShape, refusing, tools_of

#: Where models are asked, or their tokens counted.
MODEL_PATHS = CHAT_PATHS | STREAM_PATHS | EMBEDDING_PATHS
#: Parameters of routers and gateways: what to ask when the model does not answer.
_INSTEAD = ("models", "fallbacks", "fallback_model")
_COMPLETIONS = STREAM_PATHS - CHAT_PATHS
#: Policies of which the rules are kept. One for each key that is in use.
_KEPT = 4_096

#: ``model`` and ``provider`` of a request → the one name of the model that would answer; None: there is none,
#: and the application below refuses the request.
Canonical = Callable[[object, object], str | None]


def as_written(model: object, provider: object) -> str | None:
    """The name for an application without aliases: ``model``, or ``provider:model``."""
    if not isinstance(model, str):
        return None
    return f"{provider}:{model}" if isinstance(provider, str) else model


class KeyPolicyMiddleware:
    """Holds requests to the policy of their key; a request without one costs one look.

    ``canonical`` names the model that would answer, so that neither an alias nor another spelling leads
    around the list of models, whose names are read in the same way (with a ``*`` they are compared with
    what it gives). In OpenAI's dialects other than Responses it is also given a ``provider`` from beside
    the model. ``paths``: where models are asked.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        canonical: Canonical = as_written,
        paths: Collection[str] = MODEL_PATHS,
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        covered = frozenset(map(canonical_path, paths))
        self._covers = remembered(lambda path: canonical_path(path) in covered)
        self._canonical = canonical
        self._rules = lru_cache(maxsize=_KEPT)(lambda policy: rules_of(policy, canonical))
        self._on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal | None = (scope.get("state") or {}).get(PRINCIPAL)
        if (
            principal is None
            or principal.policy is None
            or scope["type"] != "http"
            or scope["method"] != "POST"
            or not self._covers(scope["path"])
        ):
            await self.app(scope, receive, send)
            return
        try:
            scope, receive, body = await read_body(scope, receive)
            value = body.json()
            if isinstance(value, dict):
                if not body.replaced and (key := repeated_key(body.raw, value)) is not None:
                    raise Refused(_twice(key))
                rules = self._rules(principal.policy)
                judged = self._judged(value, rules, scope)
                if judged is not value or (rules.refuses is not None and not body.replaced):
                    scope = body.replace(scope, judged)
        except ClientDisconnected:
            return
        except BodyError as error:
            await self._on_reject(error.rejection())(scope, receive, send)
            return
        except Refused as refused:
            await self._on_reject(refused.rejection)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _judged(self, value: dict[str, Any], rules: Rules, scope: Scope) -> dict[str, Any]:
        """The body that may go on. Raises :class:`Refused`."""
        policy, place = rules.policy, _place(value, scope)
        provider = value.get("provider") if dialect_of(scope) == "openai" else None
        if policy.default_model is not None and value.get("model") is None and provider is None:
            value = {**value, "model": policy.default_model}
        if rules.allows is not None:
            for number, (model, at) in enumerate(_models(value, provider)):
                name = self._canonical(model, at)
                if name is None and number == 0:
                    # Nobody would answer: what is allowed may go on, to be told why by who knows.
                    name = as_written(model, at)
                if name is None or not rules.allows(name):
                    raise Refused(_no_model(model, policy))
        try:
            if rules.refuses is not None:
                for tool in tools_of(value):
                    if rules.refuses(tool):
                        raise Refused(_no_tool(tool, policy))
            if policy.max_tokens is not None and place.bounds:
                value = bounded(value, policy.max_tokens, place.bounds, place.bounds[0])
        except (WrongShape, WrongType) as wrong:
            raise Refused(Rejection(400, str(wrong), code="invalid_type", param=wrong.place)) from None
        if policy.system_prefix and place.prompt is not None:
            value = prefixed(value, policy.system_prefix, place.prompt)
        return value


class Refused(Exception):
    """The policy of the key does not have it."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


class Rules(NamedTuple):
    """A policy, ready to judge by. ``allows`` is given canonical names of models; None: every model."""

    policy: Policy
    allows: Callable[[str], bool] | None
    refuses: Callable[[Tool], bool] | None


def rules_of(policy: Policy, canonical: Canonical = as_written) -> Rules:
    """The rules of ``policy``, for example to show a caller only the models that it may use."""
    names = [canonical(name, None) or name for name in policy.models]
    allows = matcher(names) if names else None
    return Rules(policy, allows, refusing(policy.allowed_tools, policy.blocked_tools))


def _models(value: dict[str, Any], provider: object) -> Iterator[tuple[object, object]]:
    """Every model that ``value`` names, with its provider: the one that answers, those that upstreams take in
    its stead, and those that tools of the provider's ask."""
    yield value.get("model"), provider
    for name in _INSTEAD:
        others = value.get(name)
        if others is not None:
            for other in others if isinstance(others, list) else [others]:
                yield other, provider
    tools = value.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("model") is not None:
            yield tool["model"], provider


class _Place(NamedTuple):
    """Where a request says what. ``bounds``: what bounds its answer, the dialect's own name first; empty when
    there is no answer to bound. ``prompt``: see :func:`.policy.rewrites.prefixed`; None: nowhere."""

    bounds: tuple[str, ...]
    prompt: str | None


def _place(value: dict[str, Any], scope: Scope) -> _Place:
    """Handlers go by the path first, so that decides here as well: what other shapes a body has beside the
    one that its path expects is not read."""
    dialect, path = dialect_of(scope), canonical_path(scope["path"])
    answers = path not in COUNT_PATHS
    if dialect == "anthropic":
        return _Place(("max_tokens",) if answers else (), "system")
    if dialect == "responses":
        return _Place(("max_output_tokens",) if answers else (), "instructions")
    if path in EMBEDDING_PATHS:
        return _Place((), None)
    bounds = ("max_tokens", "max_completion_tokens")
    if path in _COMPLETIONS:
        return _Place(bounds, "prompt")
    seen = view(value, path)
    if seen is None:
        return _Place(bounds, None)
    if seen.shape == "responses":
        return _Place(("max_output_tokens",), "instructions")
    # On /chat, and where a chat is posted in Anthropic's shape, `system` comes before all messages.
    in_front = seen.shape != "chat" or value.get("instructions") is not None
    return _Place(bounds, "system" if in_front else "messages")


def _twice(key: str) -> Rejection:
    message = f"The request body has the key {key[:64]!r} twice: say once what is meant."
    return Rejection(400, message, code="duplicate_key", param=key[:64])


def _no_model(model: object, policy: Policy) -> Rejection:
    what = f"The model {model[:100]!r} is" if isinstance(model, str) else "A request without a model is"
    return _forbidden(f"{what} not allowed for this key. Allowed: {_list(policy.models)}.", "model")


def _no_tool(tool: Tool, policy: Policy) -> Rejection:
    rule = f"Allowed: {_list(policy.allowed_tools)}." if policy.allowed_tools else ""
    if policy.blocked_tools:
        rule = f"{rule} Not allowed: {_list(policy.blocked_tools)}.".lstrip()
    return _forbidden(f"The tool {tool.shown[:100]!r} is not allowed for this key. {rule}", "tools")


def _list(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def _forbidden(message: str, param: str) -> Rejection:
    code = "model_not_allowed" if param == "model" else "tool_not_allowed"
    return Rejection(403, message, "permission_error", code, param, headers=(FINAL,))
