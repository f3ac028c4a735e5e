"""How many tokens a request will be, where the upstream has no way to ask.

There is no tokenizer here. Tokens are estimated from the bytes of the finished request, which follow them
more evenly than characters do (a Chinese character is three bytes and about one token, an English word
five bytes and about one), and the estimate is calibrated for each model by what the upstream has counted.
"""

from __future__ import annotations

import re
from collections import deque
from math import ceil, inf

from .types import Usage

#: Rather too many tokens than too few: a prompt that does not fit is refused.
BYTES_PER_TOKEN = 3.2
#: What any tokenizer makes of any text lies in between. What is counted beyond them (a prompt that was
#: served from a cache and not counted, say) teaches nothing.
FEWEST_BYTES, MOST_BYTES = 1.5, 6.0
_WEIGHT = 0.2
#: From 256 (gemma3) to some 1,600 (llama3.2-vision) tokens; models do not tell.
IMAGE_TOKENS = 1_024
#: Models of which something is remembered, and requests of one model whose answers are under way.
_MAX_MODELS = 1_024
_MAX_WAITING = 16

_BASE64 = b";base64,"
#: Images and files in a request, as JSON has them.
_EMBEDDED = re.compile(rb'"data:[^",;]{0,80};base64,([^"\\]*+)')


class TokenRatios:
    """Bytes for each token, by model; the models longest unheard of are forgotten."""

    __slots__ = ("_ratios", "_waiting")

    def __init__(self) -> None:
        self._ratios: dict[str, float] = {}
        self._waiting: dict[str, deque[tuple[int, Usage]]] = {}

    def estimate(self, model: str, size: int, *, images: int = 0) -> int:
        """About how many tokens a request of ``size`` bytes (without its images) is."""
        if model in self._waiting:
            self._settle(model)
        return ceil(size / self._ratios.get(model, BYTES_PER_TOKEN)) + images * IMAGE_TOKENS

    def calibrated(self, model: str) -> bool:
        """Whether estimates for ``model`` follow what its upstream has counted."""
        if model in self._waiting:
            self._settle(model)
        return model in self._ratios

    def counted(self, model: str, size: int, tokens: int) -> None:
        """The upstream has counted ``tokens`` in a request of ``size`` bytes without images."""
        ratio = size / tokens if tokens > 0 else inf
        if FEWEST_BYTES <= ratio <= MOST_BYTES:
            known = self._ratios.pop(model, ratio)
            _make_room(self._ratios)
            self._ratios[model] = known + _WEIGHT * (ratio - known)

    def asked(self, model: str, size: int, usage: Usage, *, images: int = 0) -> None:
        """A request of ``size`` bytes was sent; ``usage`` will tell what it was counted as, once it is
        answered. It is looked at when an estimate is wanted. One with ``images`` teaches nothing."""
        if images:
            return
        if model not in self._waiting:
            _make_room(self._waiting)
            self._waiting[model] = deque(maxlen=_MAX_WAITING)
        self._waiting[model].append((size, usage))

    def _settle(self, model: str) -> None:
        waiting = self._waiting[model]
        for _ in range(len(waiting)):
            size, usage = waiting.popleft()
            if usage.prompt_tokens:
                self.counted(model, size, usage.prompt_tokens)
            else:
                waiting.append((size, usage))


def _make_room(kept: dict[str, float] | dict[str, deque[tuple[int, Usage]]]) -> None:
    if len(kept) >= _MAX_MODELS:
        del kept[next(iter(kept))]


def embedded(request: bytes) -> tuple[int, int]:
    """``(how many images and files stand in the JSON of a request, the bytes of their base64)``, which have
    nothing to do with how many tokens they are."""
    if _BASE64 not in request:
        return 0, 0
    sizes = [match.end(1) - match.start(1) for match in _EMBEDDED.finditer(request)]
    return len(sizes), sum(sizes)
