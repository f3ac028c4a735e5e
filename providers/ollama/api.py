"""Requests to Ollama and what is wrong with their answers, before anything is understood of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ..errors import ProtocolError, ProviderError, wrong_content_type
from ..http.types import Header, HttpClient, HttpResponse, Timeouts
from ..translate import ollama_errors
from ..translate._check import as_json
from ..translate.anthropic_errors import MAX_BODY, parse_retry_after

_LINES = b"application/x-ndjson"
_JSON = b"application/json"
#: For questions that need no model.
_ASIDE = Timeouts(connect=5.0, first_byte=10.0, idle=10.0, total=20.0)
_MAX_ASIDE = 16 * 1024 * 1024


class OllamaApi:
    """One Ollama. ``headers`` go with every request, and nothing of a caller's does."""

    def __init__(
        self,
        client: HttpClient,
        *,
        base_url: str,
        provider: str,
        timeouts: Timeouts | None,
        headers: Sequence[Header],
    ) -> None:
        self._client = client
        self._provider = provider
        self._timeouts = timeouts
        self._url = f"{base_url.rstrip('/').removesuffix('/v1').removesuffix('/api')}/api/"
        # Tuples, so that the client need not look at them again.
        self._get_headers = (*headers, (b"accept", _JSON))
        self._post_headers = (*self._get_headers, (b"content-type", _JSON))
        self._stream_headers = (*headers, (b"content-type", _JSON), (b"accept", _LINES))

    async def stream(self, path: str, body: bytes, model: str) -> HttpResponse:
        """The answer to ``body`` as far as its head. Raises ``ProviderError`` for everything else."""
        response = await self._request("POST", self._url + path, self._stream_headers, body, self._timeouts)
        if response.status != 200 or response.header(b"content-type") != _LINES:
            try:
                await self._check(response, _LINES, model)
            except BaseException:
                await response.aclose()
                raise
        return response

    async def get(self, path: str) -> dict[str, Any]:
        """A JSON object that describes the server. Raises ``ProviderError``."""
        response = await self._request("GET", self._url + path, self._get_headers, b"", _ASIDE)
        return await self._object(response, path, "", _MAX_ASIDE)

    async def post(
        self, path: str, body: Mapping[str, Any], *, model: str, work: bool = False, limit: int = _MAX_ASIDE
    ) -> dict[str, Any]:
        """The JSON object that answers ``body``. ``work``: the model itself has to do something for it.

        Raises ``ProviderError``, for an answer of more than ``limit`` bytes too.
        """
        encoded = as_json(body)
        timeouts = self._timeouts if work else _ASIDE
        response = await self._request("POST", self._url + path, self._post_headers, encoded, timeouts)
        return await self._object(response, path, model, limit)

    async def _object(self, response: HttpResponse, path: str, model: str, limit: int) -> dict[str, Any]:
        async with response:
            await self._check(response, _JSON, model)
            try:
                found = orjson.loads(await response.read(limit))
            except ValueError:
                found = None
            except ProviderError as error:
                error.sign(self._provider)
                raise
        if not isinstance(found, dict):
            raise ProtocolError(
                f"Ollama's answer to /api/{path} is not a JSON object.", provider=self._provider
            )
        return found

    async def _request(
        self, method: str, url: str, headers: Sequence[Header], body: bytes, timeouts: Timeouts | None
    ) -> HttpResponse:
        try:
            return await self._client.request(method, url, headers=headers, body=body, timeouts=timeouts)
        except ProviderError as error:
            error.sign(self._provider)
            raise

    async def _check(self, response: HttpResponse, wanted: bytes, model: str) -> None:
        """Raise unless ``response`` is an answer of the wanted type."""
        kind = (response.header(b"content-type") or b"").lower()
        if response.status != 200:
            try:
                body = await response.read(MAX_BODY)
            except ProviderError:
                body = b""  # the status says enough
            raise ollama_errors.from_response(
                response.status,
                body,
                provider=self._provider,
                model=model,
                retry_after=parse_retry_after(response.header(b"retry-after")),
            )
        if kind.startswith(b"text/html"):  # nobody but a log-in page answers so
            raise ollama_errors.access_refused("a page to log in", provider=self._provider, status=200)
        if not kind.startswith(wanted):
            raise wrong_content_type(kind, wanted, provider=self._provider)
