"""The SDK's response as a source of bytes, and its exceptions as the gateway's own."""

from __future__ import annotations

from collections.abc import Sequence

import httpx2

from ..errors import NotConfigured, ProviderError
from ..http.types import Header


class SdkSource:
    """Where a reply reads its bytes, as they came; and what the head of the response said."""

    def __init__(self, response: httpx2.Response, provider: str) -> None:
        self.headers: Sequence[Header] = [(name.lower(), value) for name, value in response.headers.raw]
        #: Times that the request was sent; known where it went through the gateway's own engine.
        self.attempts: int = response.extensions.get("attempts", 1)
        self._response = response
        self._parts = response.aiter_raw()
        self._provider = provider
        self.ended = False

    def header(self, name: bytes) -> bytes | None:
        """The first value of ``name`` (lower case), or None."""
        return next((value for known, value in self.headers if known == name), None)

    async def read_some(self) -> bytes:
        """At least one byte; ``b""`` at the end. Raises ``ProviderError``."""
        try:
            data = await anext(self._parts, b"")
        except Exception as failure:  # noqa: BLE001 - sorted below
            raise provider_error(failure, self._provider) from None
        self.ended = not data
        return data

    async def aclose(self) -> None:
        """Stop the upstream. Idempotent."""
        await self._response.aclose()


def provider_error(failure: Exception, provider: str) -> ProviderError:
    """What ``failure`` means: whatever happened on the wire has the engine's own error, with its stage, at
    the bottom of its chain; anything else happened before, while the request was being signed."""
    seen: BaseException | None = failure
    missing = False
    while seen is not None:
        if isinstance(seen, ProviderError):
            seen.sign(provider)
            return seen
        missing = missing or isinstance(seen, ImportError)
        seen = seen.__cause__ or seen.__context__
    if missing:
        text = f"{provider}: the library that finds its credentials is not installed on this gateway: "
        text += f"the operator has to run `pip install 'anthropic[{provider}]'`."
    else:
        text = f"{provider}: no usable credentials ({type(failure).__name__})."
    return NotConfigured(text, provider=provider)
