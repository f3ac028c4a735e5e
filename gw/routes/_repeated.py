"""A request that names two models: the gateway acts on one, an upstream that gets its bytes on the other."""

from __future__ import annotations

import re
from itertools import count

import orjson

from providers.errors import BadRequest

_PLAIN = b'"model"'
#: What every way of writing one of its letters begins with: ``\u006d``, ``\u006F`` …
_ESCAPE = b"\\u006"
_ANY = re.compile(rb'"(?:m|\\u006[dD])(?:o|\\u006[fF])(?:d|\\u0064)(?:e|\\u0065)(?:l|\\u006[cC])"')


def refuse_repeated_model(body: bytes) -> None:
    """Raises ``BadRequest`` where ``model`` stands twice among the keys of the JSON object ``body``.

    JSON leaves open which one holds; permissions, the price and the upstream have to mean the same. As a rule
    the word stands there once, which two searches tell. (Inside an object it is a key like any other.)
    """
    if body.count(_PLAIN) < 2 and _ESCAPE not in body:
        return
    if len(_ANY.findall(body)) < 2:
        return
    # Each gets a name of its own, and the parser tells which of them are keys of the object itself.
    numbers = count()
    renamed: dict[str, object] = orjson.loads(_ANY.sub(lambda _: b'"model %d"' % next(numbers), body))
    if sum(key.startswith("model ") for key in renamed) > 1:
        raise BadRequest(
            "`model` stands in the request more than once: give it one time.",
            param="model",
            code="duplicate_key",
        )
