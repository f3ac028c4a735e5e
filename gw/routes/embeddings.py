"""``POST /v1/embeddings`` in OpenAI's dialect: texts in, vectors out."""

from __future__ import annotations

import asyncio
import re
import sys
from array import array
from base64 import b64encode
from typing import Any, Literal

import orjson
from blacksheep import Content, Request, Response

from providers.base import SpeaksEmbeddings
from providers.errors import BadRequest
from providers.types import Embeddings, EmbeddingsCall, Vector

from ..dispatch import Dispatcher, Target
from ..settle import presentable
from ._ask import begin
from ._http import Handler, dropped_header, guarded, json_object, state_of, target_headers

#: https://platform.openai.com/docs/api-reference/embeddings/create: "any array must be 2048 dimensions
#: or less".
MAX_INPUTS = 2048
#: No model has that many; a larger number is a mistake that an upstream may answer with a crash.
MAX_DIMENSIONS = 65_536

_READ = frozenset({"input", "model", "provider", "encoding_format", "dimensions"})
#: Other names do not fit into a header.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: Numbers that are written before other requests have their turn (about 3 ms).
_TURN = 65_536


def embeddings(dispatcher: Dispatcher) -> Handler:
    """The handler."""

    async def handle(request: Request) -> Response:
        state = state_of(request)
        body = json_object(request)
        model, provider = body.get("model"), body.get("provider")
        if model is None:
            raise BadRequest(
                f"`model` is missing. {dispatcher.embedders()}",
                param="model",
                code="missing_required_parameter",
            )
        target = dispatcher.resolve(model, provider)
        call = as_call(body, target)
        if not isinstance(target.provider, SpeaksEmbeddings):
            raise BadRequest(
                f"{target.provider.name} has no embeddings. {dispatcher.embedders()}",
                provider=target.provider.name,
                param="model",
                code="unsupported_model",
            )
        completion = begin(request, target, call.exchange)
        found = await target.provider.embed(call)
        completion.model = presentable(found.model)
        call.exchange.spend(found.usage)
        headers = target_headers(target, completion.model, state)
        dropped = [n for n, v in body.items() if n not in _READ and v is not None and _NAME.fullmatch(n)]
        if not isinstance(provider, str | None):
            dropped.append("provider")
        if dropped:
            headers.append(dropped_header(dropped[:20]))
        return Response(200, headers, Content(b"application/json", await render(found, call)))

    return guarded(handle)


def as_call(body: dict[str, Any], target: Target) -> EmbeddingsCall:
    """The request, checked. Raises ``BadRequest`` naming the field."""
    encoding = body.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        raise BadRequest(
            "`encoding_format` must be 'float' or 'base64'.", param="encoding_format", code="invalid_value"
        )
    dimensions = body.get("dimensions")
    if dimensions is not None and not (
        isinstance(dimensions, int) and not isinstance(dimensions, bool) and 0 < dimensions <= MAX_DIMENSIONS
    ):
        raise BadRequest(
            f"`dimensions` must be a whole number between 1 and {MAX_DIMENSIONS}.",
            param="dimensions",
            code="invalid_value",
        )
    form: Literal["float", "base64"] = "base64" if encoding == "base64" else "float"
    return EmbeddingsCall(_inputs(body.get("input")), target.model, target.requested, dimensions, form)


def _inputs(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        code = "missing_required_parameter" if value is None else "invalid_type"
        raise BadRequest("`input` must be a string or a list of strings.", param="input", code=code)
    if not 0 < len(texts) <= MAX_INPUTS:
        raise BadRequest(
            f"`input` holds {len(texts)} texts; it must hold between 1 and {MAX_INPUTS}.",
            param="input",
            code="invalid_value",
        )
    for index, text in enumerate(texts):
        where = "`input`" if isinstance(value, str) else f"`input[{index}]`"
        if isinstance(text, int | list) and not isinstance(text, bool):
            raise BadRequest(
                f"{where} is made of tokens. Every model has a tokenizer of its own, so this gateway takes "
                "texts only: send strings.",
                param="input",
                code="unsupported_value",
            )
        if not isinstance(text, str):
            raise BadRequest(f"{where} must be a string.", param="input", code="invalid_type")
        if not text:
            raise BadRequest(f"{where} is empty.", param="input", code="invalid_value")
    return tuple(texts)


async def render(found: Embeddings, call: EmbeddingsCall) -> bytes:
    """``CreateEmbeddingResponse`` as JSON.

    Large ones (2,048 texts of 1,536 numbers are 60 MB) are written in turns with whatever else runs.
    """
    pieces: list[bytes] = []
    written = 0
    for index, vector in enumerate(found.vectors):
        shown: str | list[float] = as_base64(vector) if call.encoding == "base64" else as_floats(vector)
        pieces.append(orjson.dumps({"object": "embedding", "index": index, "embedding": shown}))
        written += len(vector)
        if written > _TURN:
            written = 0
            await asyncio.sleep(0)
    tokens = found.usage.prompt_tokens
    rest = orjson.dumps(
        {"model": call.requested_model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    )
    return b'{"object":"list","data":[' + b",".join(pieces) + b"]," + rest[1:]


def as_floats(vector: Vector) -> list[float]:
    """``vector`` as numbers."""
    return _little_endian(array("f", vector)).tolist() if isinstance(vector, bytes) else vector


def as_base64(vector: Vector) -> str:
    """``vector`` as OpenAI's base64 form: little-endian 32-bit floats in a row."""
    if not isinstance(vector, bytes):
        vector = _little_endian(array("f", vector)).tobytes()
    return b64encode(vector).decode("ascii")


def _little_endian(numbers: array[float]) -> array[float]:
    """To or from the wire's byte order."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
