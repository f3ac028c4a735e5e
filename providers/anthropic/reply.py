"""An answer of the Messages API as a :class:`~providers.base.ChatReply`."""

from __future__ import annotations

from ..reply import ByteSource, TranslatedReply
from ..translate.anthropic_chat import ChatTranslator
from ..translate.chat_anthropic import AnthropicRequest
from ..types import ChatCall


class AnthropicReply(TranslatedReply):
    """``source`` gives Anthropic's server-sent events; the answer has begun with ``message_start``."""

    __slots__ = ()

    def __init__(
        self,
        source: ByteSource,
        request: AnthropicRequest,
        *,
        call: ChatCall,
        provider: str = "anthropic",
        upstream_request_id: str | None = None,
    ) -> None:
        super().__init__(
            source,
            ChatTranslator,
            call=call,
            shape=request.reply,
            provider=provider,
            dropped=request.dropped,
            upstream_request_id=upstream_request_id,
        )
