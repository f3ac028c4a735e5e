"""What a provider is. Structural: an adapter needs no base class, only these methods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol, runtime_checkable

from .types import (
    ChatCall,
    CompletionCall,
    Embeddings,
    EmbeddingsCall,
    MessagesCall,
    ModelInfo,
    Usage,
)

#: What an adapter may say that it can do. The contract suite (tests/providers/contract.py) holds it to
#: every feature that it declares and to a clear 400 for a request that needs one that it does not.
#:
#: ``tools`` function tools, their results, several calls in one answer; ``forced_tools``
#: ``tool_choice`` required or named is enforced, not only asked for; ``images`` as data URIs;
#: ``documents`` PDFs; ``schema`` ``response_format: json_schema`` enforced; ``json_object`` the same
#: without a schema; ``thinking`` reasoning is shown as ``reasoning_content`` and ``reasoning_effort``
#: has an effect; ``embeddings`` the provider is :class:`SpeaksEmbeddings`; ``messages`` it is
#: :class:`SpeaksMessages`; ``completions`` it is :class:`SpeaksCompletions`; ``signed_thinking`` thinking
#: is signed and can be replayed (``Writer.signature``).
Feature = Literal[
    "tools",
    "forced_tools",
    "images",
    "documents",
    "schema",
    "json_object",
    "thinking",
    "embeddings",
    "messages",
    "completions",
    "signed_thinking",
]


class ChatReply(Protocol):
    """An answer whose first upstream event has arrived without an error; in the dialect of the call's
    ``writer`` (chat completions without one).

    Exactly one of :meth:`sse` and :meth:`completion` is consumed: the one that the request's ``stream``
    asked for. ``usage``, ``finish_reason`` and
    ``first_token_at`` fill in while it passes and are valid even when the answer breaks off: what nobody
    has told of its usage is then estimated (:mod:`providers.spent`).
    What attempts before this answer have used is in the call's ``exchange``.
    """

    #: The upstream's own name of the model that answers.
    model: str
    #: Request parameters that were left out because this model refuses them, in request order.
    dropped: tuple[str, ...]
    upstream_request_id: str | None

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        ...

    @property
    def attempts(self) -> int:
        """Times that the upstream was asked for this answer."""
        ...

    @property
    def finish_reason(self) -> str | None: ...

    @property
    def done(self) -> bool:
        """True once the last event of the stream has been given out: whoever leaves now has all of it, and
        many clients do."""
        ...

    @property
    def first_token_at(self) -> float | None:
        """``time.perf_counter()`` at the first content (text, thinking or tool call); None before."""
        ...

    def sse(self) -> AsyncIterator[bytes]:
        """Events as SSE bytes: one item per upstream read, never one per event, ending as the dialect
        ends (chat completions: ``data: [DONE]``). Raises :class:`~providers.errors.ProviderError` when the
        upstream breaks off; what was yielded before stays valid, and no ending follows."""
        ...

    async def completion(self) -> dict[str, Any]:
        """The whole answer as one object (chat completions: ``chat.completion``). Raises
        ``ProviderError``."""
        ...

    def failed(self, code: str, message: str) -> bytes:
        """See :meth:`~providers.types.Writer.failed`."""
        ...

    async def aclose(self) -> None:
        """Stop the upstream now, if it is still writing. Idempotent, never raises."""
        ...


class Provider(Protocol):
    """An upstream that answers chats. Holds its connection pool; lives as long as the process."""

    name: str
    #: What the adapter can do on a model that can; a single model may do less (``ModelCapabilities``).
    features: frozenset[Feature]

    async def chat(self, call: ChatCall) -> ChatReply:
        """Send ``call`` and wait for the first event of the answer, so that everything that
        fails before it is still an ordinary error with a status. Raises ``ProviderError``."""
        ...

    async def models(self) -> list[ModelInfo]:
        """The upstream's own list of models, with its own ids. What is learnt from it (capabilities,
        sizes) is used for the chats to come. Raises ``ProviderError``."""
        ...

    def known(self) -> list[ModelInfo]:
        """The models as far as they are known without asking: a dated snapshot that is shipped, or
        what the operator has configured; afterwards the last list. Does no I/O."""
        ...

    async def aclose(self) -> None:
        """Stop what is running in the background. The HTTP client belongs to whoever made it."""
        ...


class RawReply(Protocol):
    """An answer passed through in the upstream's own dialect. ``usage`` fills in while it passes."""

    upstream_request_id: str | None
    #: True for an event stream; otherwise the whole body is one piece.
    stream: bool
    content_type: bytes
    #: The upstream's response headers that are the caller's business (rate limits and the like).
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def usage(self) -> Usage:
        """As :attr:`ChatReply.usage`."""
        ...

    @property
    def attempts(self) -> int:
        """As :attr:`ChatReply.attempts`."""
        ...

    @property
    def model(self) -> str:
        """The upstream's own name of the model that answers, once it has said so."""
        ...

    @property
    def first_token_at(self) -> float | None:
        """See :class:`ChatReply`."""
        ...

    @property
    def done(self) -> bool:
        """As :attr:`ChatReply.done`."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The upstream's bytes. Raises ``ProviderError`` when they break off."""
        ...

    def failed(self, code: str, message: str) -> bytes:
        """As :meth:`ChatReply.failed`; a comment where the upstream's own error event has passed."""
        ...

    async def aclose(self) -> None:
        """As :meth:`ChatReply.aclose`."""
        ...


@runtime_checkable
class SpeaksMessages(Protocol):
    """A provider whose upstream itself speaks Anthropic's dialect: requests and answers pass unchanged.
    Every other provider is asked through a translation to :meth:`Provider.chat`."""

    async def messages(self, call: MessagesCall) -> RawReply:
        """Send ``call`` and wait for the first event; of ``call.headers`` those are sent that the upstream
        may see. Raises ``ProviderError``."""
        ...


@runtime_checkable
class SpeaksEmbeddings(Protocol):
    """A provider that turns texts into vectors."""

    async def embed(self, call: EmbeddingsCall) -> Embeddings:
        """One vector for each input, in order. Raises ``ProviderError``."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A provider whose upstream cannot count tokens, and that can estimate."""

    async def estimate(self, call: ChatCall) -> int:
        """About how many input tokens ``call`` would be. Raises ``BadRequest`` for what is wrong with it."""
        ...


@runtime_checkable
class SpeaksCompletions(Protocol):
    """A provider that completes a text (``/v1/completions``), with a ``suffix`` where the model can."""

    async def complete(self, call: CompletionCall) -> ChatReply:
        """As :meth:`Provider.chat`; the answer is of ``text_completion`` objects."""
        ...
