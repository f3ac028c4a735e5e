"""Values that pass between the application and a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

#: Characters of a model's name: it ends up in headers, logs and metrics.
MAX_MODEL_NAME = 256


@dataclass(slots=True)
class Usage:
    """Tokens as the provider reported them; classes are disjoint (``input`` excludes cache).

    What nobody has reported (an answer that was left or that broke off, a server that does not count) is
    estimated, and named: see :mod:`providers.spent`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    #: Part of ``output_tokens``.
    reasoning_tokens: int = 0
    #: Searches of the web that the provider has made, which it charges for beside the tokens.
    web_searches: int = 0
    #: By which of its prices the provider says it charges, as ``service_tier=flex``; None: it has not said.
    variant: str | None = None
    #: Where the provider says that it has computed, as ``us``, which may cost more; None: it has not said.
    geo: str | None = None
    #: What was used beside the counts above, which leave it out: Claude's own compaction of a conversation.
    beside: Usage | None = None
    #: Names of the counts that nobody has reported: ``input``, ``output`` or both; empty as a rule.
    estimated: frozenset[str] = frozenset()
    #: What the provider has told for good. (Claude begins an answer with its input alone.)
    input_told: bool = field(default=False, compare=False, repr=False)
    output_told: bool = field(default=False, compare=False, repr=False)

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def prompt_tokens(self) -> int:
        """OpenAI's ``prompt_tokens``: everything that was read, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    def plus(self, later: Usage) -> Usage:
        """What was used here and by ``later``, which tells the price of both if either does."""
        return Usage(
            self.input_tokens + later.input_tokens,
            self.output_tokens + later.output_tokens,
            self.cache_read_tokens + later.cache_read_tokens,
            self.cache_write_5m_tokens + later.cache_write_5m_tokens,
            self.cache_write_1h_tokens + later.cache_write_1h_tokens,
            self.reasoning_tokens + later.reasoning_tokens,
            self.web_searches + later.web_searches,
            later.variant or self.variant,
            later.geo or self.geo,
            estimated=self.estimated | later.estimated,
        )


@dataclass(slots=True, frozen=True)
class ModelCapabilities:
    """What a model accepts. Learnt from the upstream's own list; never guessed from the name.

    ``thinking`` holds the accepted ``thinking.type`` values. ``thinks_by_default`` is true when a
    request that says nothing about thinking thinks. ``effort`` holds the accepted levels,
    lowest first; empty when the model takes none.
    """

    thinking: frozenset[str] = frozenset()
    thinks_by_default: bool = False
    effort: tuple[str, ...] = ()
    sampling: bool = True
    forced_tool_choice: bool = True
    prefill: bool = True
    #: ``role: "system"`` accepted in the middle of ``messages``.
    system_turns: bool = False
    structured_outputs: bool = True
    images: bool = True
    pdf: bool = True
    tools: bool = True
    #: Turns text into vectors (``/v1/embeddings``) instead of, or beside, chatting.
    embeddings: bool = False
    #: Fills in what is missing between a ``prompt`` and a ``suffix`` (``/v1/completions``).
    insert: bool = False


@dataclass(slots=True, frozen=True)
class ModelInfo:
    """One model of one provider. ``created`` is in Unix seconds, sizes are tokens.

    ``lifecycle`` is "active", "deprecated" or "retired"; ``retires_at`` is an RFC 3339 time (Anthropic's list
    tells both).
    """

    id: str
    provider: str
    display_name: str = ""
    created: int = 0
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    lifecycle: str = "active"
    retires_at: str | None = None
    capabilities: ModelCapabilities = field(default_factory=ModelCapabilities)


class Writer(Protocol):
    """Where a translator puts what it has understood of an answer; writes it in the caller's dialect.

    *Tokens* are the insides of JSON strings, already escaped, as the upstream wrote them, and never empty.
    A writer for a stream gives its bytes by :meth:`take`; one for a whole answer gives :meth:`whole`.
    """

    def start(self, answer_id: str, created: int, model: str) -> None:
        """``answer_id`` without the prefix of any dialect; ``created`` in Unix seconds; ``model`` as the
        caller is to see it."""
        ...

    def expect(self, *, reasoning: bool) -> None:
        """What the tokens given to :meth:`token` are from now on; without it, text."""
        ...

    def token(self, token: bytes) -> bytes:
        """:meth:`text` or :meth:`reasoning` of one token, and :meth:`take`, when nothing else waits."""
        ...

    def text(self, tokens: Sequence[bytes]) -> None: ...
    def reasoning(self, tokens: Sequence[bytes]) -> None: ...
    def signature(self, token: bytes) -> None:
        """What proves the reasoning that is being written (Anthropic's ``signature_delta``)."""
        ...

    def redacted(self, data: str) -> None:
        """Reasoning that only the model can read (Anthropic's ``redacted_thinking``): whole, between two
        other parts."""
        ...

    def refusal(self, token: bytes) -> None: ...
    def call(self, index: int, call_id: str, name: str, *, custom: bool) -> None: ...
    def arguments(self, index: int, tokens: Sequence[bytes], *, custom: bool) -> None: ...
    def close(self) -> None:
        """The text, the reasoning or the call that was being written is complete: what comes next is another
        part, also when it is of the same kind. Upstreams without blocks never say so."""
        ...

    def finish(self, reason: str, usage: Usage) -> None:
        """``reason`` is an OpenAI ``finish_reason``."""
        ...

    def take(self) -> bytes:
        """The bytes written since the last call."""
        ...

    def failed(self, code: str, message: str) -> bytes:
        """The event that ends a stream that broke off; ``b""`` where the error of the dialect needs nothing
        that only the writer knows."""
        ...

    def whole(self) -> dict[str, Any]:
        """The answer in one piece; valid once :meth:`finish` was called. Raises ``ValueError`` when a text
        is not valid Unicode."""
        ...


class NewWriter(Protocol):
    """Makes the writer of one answer: its class, or a ``partial`` of it. ``include_usage`` and
    ``legacy`` (``function_call`` instead of ``tool_calls``) mean something for chat completions alone."""

    def __call__(self, *, streaming: bool, include_usage: bool, legacy: bool) -> Writer: ...


class Exchange:
    """What becomes of one call at its upstream; right at any moment, also once the call has raised or was
    cancelled while it waited. The provider fills it in; an answer has the same by its own attributes.

    ``attempts``: times that an upstream was asked. ``usage``: what all of them have used that came to no
    answer; a provider may ask again in another manner, and is billed for each time. What the answer has used
    comes to it.
    """

    __slots__ = ("attempts", "prompt", "upstream_request_id", "usage")

    def __init__(self) -> None:
        self.attempts = 0
        self.upstream_request_id: str | None = None
        self.usage = Usage()
        #: About how many tokens the request is that was sent last; None before anything was sent, and once
        #: it is known what that has used.
        self.prompt: Callable[[], int] | None = None

    def sending(self, prompt: Callable[[], int]) -> None:
        """An upstream is asked, by a request of about ``prompt()`` tokens."""
        self.attempts += 1
        self.prompt = prompt

    def spend(self, usage: Usage) -> None:
        """What was sent last has used ``usage``, and came to no answer."""
        self.usage = self.usage.plus(usage)
        self.prompt = None


def _no_session() -> str:
    return ""


@dataclass(slots=True, frozen=True)
class ChatCall:
    """One chat to be answered.

    ``body`` is a parsed chat-completions request, the caller's own or what another dialect was translated
    to: read it, never change it. ``model`` is the upstream's id for the model; ``requested_model`` is the
    caller's name for it. ``max_tokens_defaulted`` is true when ``body["max_tokens"]`` is the gateway's
    default rather than the caller's wish: a provider may then add room for a model that thinks.

    ``writer`` makes the writer of the answer in the caller's dialect; None: chat completions.
    ``session`` names the conversation that the request belongs to (opaque, already bound to the caller's
    key; "" when unknown). It is asked for only when something is kept for a session.
    """

    body: Mapping[str, Any]
    model: str
    requested_model: str
    max_tokens_defaulted: bool = False
    writer: NewWriter | None = None
    session: Callable[[], str] = _no_session
    exchange: Exchange = field(default_factory=Exchange, compare=False)


@dataclass(slots=True, frozen=True)
class MessagesCall:
    """One request in Anthropic's own dialect, to be passed on as it stands.

    ``body`` is what goes over the wire, ``query`` the caller's query string, both passed on unchanged.
    ``headers`` are all of the caller's (names in lower case): which of them go along is the provider's to
    know. ``model`` is the upstream's id. ``endpoint``: ``count_tokens`` asks how many input tokens the
    request would be (``{"input_tokens": int}``).
    """

    body: bytes
    model: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    query: bytes = b""
    endpoint: Literal["messages", "count_tokens"] = "messages"
    exchange: Exchange = field(default_factory=Exchange, compare=False)


@dataclass(slots=True, frozen=True)
class CompletionCall:
    """One text completion (``/v1/completions``): a ``prompt``, and for fill-in-the-middle a ``suffix``.

    ``body`` is the caller's parsed request; the rest as in :class:`ChatCall`.
    """

    body: Mapping[str, Any]
    model: str
    requested_model: str
    max_tokens_defaulted: bool = False
    exchange: Exchange = field(default_factory=Exchange, compare=False)


@dataclass(slots=True, frozen=True)
class EmbeddingsCall:
    """Texts to be turned into vectors. ``dimensions`` is None when the caller leaves it to the model.

    ``encoding`` is how the caller wants them: a provider that can ask its upstream for the same form
    does, which spares a conversion; the application converts what comes otherwise.
    """

    inputs: tuple[str, ...]
    model: str
    requested_model: str
    dimensions: int | None = None
    encoding: Literal["float", "base64"] = "float"
    exchange: Exchange = field(default_factory=Exchange, compare=False)


#: One embedding: numbers, or little-endian 32-bit floats in a row (what OpenAI's base64 form holds).
Vector = list[float] | bytes


@dataclass(slots=True, frozen=True)
class Embeddings:
    """``vectors`` in the order of the inputs; ``model`` is the upstream's own name of the model."""

    vectors: list[Vector]
    model: str
    usage: Usage
    attempts: int = 1
    upstream_request_id: str | None = None
