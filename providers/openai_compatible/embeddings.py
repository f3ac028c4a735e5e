"""``POST /embeddings``: the request and its answer (https://platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from ..spent import paid, so_far
from ..translate._check import as_json
from ..types import Embeddings, EmbeddingsCall, Usage, Vector
from . import usage as usages
from .errors import Errors


def build(call: EmbeddingsCall, *, say_encoding: bool = True) -> bytes:
    """The request as JSON. Raises ``BadRequest`` for values that JSON cannot carry."""
    body: dict[str, Any] = {"model": call.model, "input": call.inputs}
    if say_encoding:
        body["encoding_format"] = call.encoding
    if call.dimensions is not None:
        body["dimensions"] = call.dimensions
    return as_json(body)


def read(answer: dict[str, Any], call: EmbeddingsCall, errors: Errors) -> Embeddings:
    """The vectors, in the order of the inputs. Raises ``ProtocolError`` for an answer that does not hold
    one for each."""
    usage = Usage(output_told=True)
    usages.note(usage, answer.get("usage"))
    exchange = call.exchange
    usage = so_far(usage, exchange.prompt)
    with paid(exchange, usage):
        vectors = _vectors(answer.get("data"), call, errors)
    model = answer.get("model")
    name = model if isinstance(model, str) and model else call.model
    return Embeddings(vectors, name, usage, exchange.attempts, exchange.upstream_request_id)


def _vectors(data: object, call: EmbeddingsCall, errors: Errors) -> list[Vector]:
    if not isinstance(data, list) or len(data) != len(call.inputs):
        raise errors.malformed("did not answer with one embedding for each input")
    vectors: list[Vector | None] = [None] * len(data)
    for position, entry in enumerate(data):
        index = entry.get("index", position) if isinstance(entry, dict) else None
        if type(index) is not int or not 0 <= index < len(data) or vectors[index] is not None:
            raise errors.malformed("answered with embeddings whose order is unknown")
        vectors[index] = _vector(entry.get("embedding"), errors)
    return [vector for vector in vectors if vector is not None]


def _vector(value: object, errors: Errors) -> Vector:
    """Numbers, or base64 of little-endian 32-bit floats."""
    if isinstance(value, str):
        try:
            packed = b64decode(value, validate=True)
        except ValueError:
            raise errors.malformed("answered with an embedding that is not base64") from None
        if packed and len(packed) % 4 == 0:
            return packed
    elif isinstance(value, list) and value and all(type(number) in (float, int) for number in value):
        return value
    raise errors.malformed("answered with an embedding that is no vector")
