"""How long a context (``num_ctx``) to ask Ollama for.

The context's memory is taken when a model is loaded, so another ``num_ctx`` than the loaded one reloads
the model, which takes seconds and throws its prompt cache away. Hence few sizes (16k, 32k, 64k, …, at
most what the model was trained for), and a model keeps the larger one while it is likely to be loaded.

How many tokens a prompt is, is estimated (:mod:`providers.estimate`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from ..errors import ContextTooLong, UpstreamFailed
from ..estimate import FEWEST_BYTES, MOST_BYTES, TokenRatios

SMALLEST = 16_384
#: The largest size for a model that does not tell its context length.
LARGEST_UNTOLD = 131_072
#: Of what the model may write, so much is given room for. Agents send limits of 32,000 or 128,000 for
#: answers of a few hundred tokens; room for all of it would be gigabytes of memory that stay unused, or
#: a model that no longer fits into the graphics card. An answer may still become as long as the
#: context allows: it then ends with ``length``, as it would at the model's own end.
RESERVE = 8_192
#: Seconds that Ollama keeps a model without being told (``OLLAMA_KEEP_ALIVE``, https://docs.ollama.com/faq).
KEEP_ALIVE = 300.0


@dataclass(slots=True)
class _Model:
    num_ctx: int = 0
    until: float = 0.0


class Contexts:
    """The sizes of each model, and in ``ratios`` what its prompts were counted as. ``clock`` gives seconds
    that only grow."""

    __slots__ = ("_clock", "_models", "ratios")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._models: dict[str, _Model] = {}
        self.ratios = TokenRatios()

    def choose(self, model: str, size: int, *, images: int, num_predict: int, limit: int | None) -> int:
        """``num_ctx`` for a prompt of ``size`` bytes and ``images``, for a model of ``limit`` tokens.

        Raises ``ContextTooLong`` for a prompt that certainly does not fit.
        """
        known = self._models.get(model) or _UNUSED
        tokens = self.ratios.estimate(model, size, images=images)
        # Not by what was counted: other prompts, of other users, are in other languages.
        if limit is not None and size / MOST_BYTES > limit:
            raise too_long(limit, tokens)
        wanted = _fitting(tokens + min(num_predict, RESERVE), limit)
        if wanted < known.num_ctx and self._clock() < known.until:
            return known.num_ctx if limit is None else min(known.num_ctx, limit)
        return wanted

    def larger(
        self, num_ctx: int, *, size: int, tokens: int | None, num_predict: int, limit: int | None
    ) -> int | None:
        """The size for a prompt of ``size`` bytes that Ollama refused at ``num_ctx`` (``tokens``: its
        length, if it said); None when there is none.

        Without a length, the size that holds any text of so many bytes: each further try would be a
        reload.
        """
        needed = (ceil(size / FEWEST_BYTES) if tokens is None else tokens) + min(num_predict, RESERVE)
        wanted = _fitting(max(needed, num_ctx + 1), limit)
        return wanted if wanted > num_ctx and (tokens is None or tokens < wanted) else None

    def loaded(self, model: str, num_ctx: int) -> None:
        """``model`` is loaded with ``num_ctx``, and stays so for ``KEEP_ALIVE``.

        A larger size that is known of stays known: it was asked for since, or by somebody else. Workers
        and users who load the same model agree on the largest that one of them needs; otherwise each would
        undo what the other has loaded.
        """
        known, now = self._models.setdefault(model, _Model()), self._clock()
        if num_ctx >= known.num_ctx or now >= known.until:
            known.num_ctx, known.until = num_ctx, now + KEEP_ALIVE

    @contextmanager
    def loading(self, model: str, num_ctx: int) -> Iterator[None]:
        """While a request at ``num_ctx`` waits for its answer, others ask for no less: they would undo the
        loading. If none comes, what was known before counts again, since a machine that cannot load so much
        may load less; and where the model itself fails, what is loaded is no longer known."""
        known = self._models.setdefault(model, _Model())
        before = known.num_ctx, known.until
        raises = num_ctx > known.num_ctx or self._clock() >= known.until
        if raises:
            self.loaded(model, num_ctx)
        meanwhile = known.num_ctx, known.until
        try:
            yield
        except BaseException as error:  # a client that leaves, too
            if (known.num_ctx, known.until) == meanwhile:
                if raises:
                    known.num_ctx, known.until = before
                elif isinstance(error, UpstreamFailed):
                    known.until = 0.0
            raise

    def counted(self, model: str, size: int, tokens: int) -> None:
        """Ollama has counted ``tokens`` in a prompt of ``size`` bytes without images."""
        self.ratios.counted(model, size, tokens)


_UNUSED = _Model()


def _fitting(tokens: int, limit: int | None) -> int:
    size = SMALLEST
    while size < tokens:
        size *= 2
    return min(size, LARGEST_UNTOLD if limit is None else limit)


def too_long(limit: int, tokens: int | None) -> ContextTooLong:
    """The refusal of a prompt of about ``tokens`` tokens, in OpenAI's words (clients look for them)."""
    found = "more" if tokens is None else f"about {tokens} tokens"
    return ContextTooLong(
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {found}. "
        "Please reduce the length of the messages.",
        param="messages",
        provider="ollama",
    )
