"""What an answer has used that did not come to its end, or whose upstream does not count.

The rules, for every provider alike; what is estimated is named in ``Usage.estimated``:

* An answer that is complete has the usage that its upstream has reported, and nothing is estimated. Only
  a server that has reported none at all (some of OpenAI's API do not) is estimated then, too.
* An answer that breaks off or is left has what was reported so far. **Claude** (the Messages API, passed
  through or translated, on its own API, on the clouds, simulated) tells the input with its first event,
  with what was read from the cache and what was written for 5 minutes and for an hour: input is exact,
  output is estimated unless the last ``message_delta`` has come. **Ollama** and **OpenAI-compatible**
  servers count behind their last word: input and output are estimated. So is a whole answer, in any dialect,
  of which not all has come.
* An attempt that came to no answer has used nothing when its upstream could not be reached, or refused it
  by its status or by an error in place of an answer, unless that tells of usage. When nobody knows (the
  caller left while it waited, the time ran out, the connection was lost) the upstream will have read the
  request: input is estimated, and output is estimated to be none.
* A call that was asked more than once, in other manners, has used what each attempt has.

Output is estimated from the words that have arrived: their pieces where a piece can be a token, which is how
Ollama and most servers write, otherwise their bytes. An upstream is billed for what it has
written until it was stopped, which may be a little more than had arrived.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import ceil

from .errors import ProtocolError, ProviderError, Timeout
from .estimate import BYTES_PER_TOKEN, FEWEST_BYTES, IMAGE_TOKENS, MOST_BYTES
from .types import Exchange, Usage

#: Of what models write: mostly English and code, without the JSON around it.
BYTES_WRITTEN_PER_TOKEN = 4.0
#: The words of a stream in any of the dialects that are passed on unread.
_WORDS = re.compile(
    rb'"(?:text|thinking|partial_json|content|reasoning_content|reasoning|arguments)": ?'
    rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"|\\?\Z)'  # the last ones may have been cut off
)
#: Images and files in a Messages request.
_EMBEDDED = re.compile(rb'"data": ?"([A-Za-z0-9+/=]{256,}+)"')
#: Bytes of a stream from which is learnt how much of it is words.
SAMPLE_BYTES = 8_192


def tokens_of(pieces: int, size: int) -> int:
    """About how many tokens ``size`` bytes are that came in ``pieces``."""
    if pieces and FEWEST_BYTES <= size / pieces <= MOST_BYTES:
        return pieces
    return ceil(size / BYTES_WRITTEN_PER_TOKEN)


def words_in(sample: bytes, size: int) -> tuple[int, int]:
    """About how many pieces of words there are in ``size`` bytes of a stream that begins like ``sample``, and
    how many bytes they are."""
    words = [word for word in _WORDS.findall(sample) if word]
    share = size / len(sample) if sample else 0
    return round(len(words) * share), round(sum(map(len, words)) * share)


def prompt_tokens(request: bytes) -> int:
    """About how many tokens ``request``, in Anthropic's dialect, is."""
    embedded = [len(match[1]) for match in _EMBEDDED.finditer(request)]
    return ceil((len(request) - sum(embedded)) / BYTES_PER_TOKEN) + len(embedded) * IMAGE_TOKENS


def so_far(
    told: Usage,
    prompt: Callable[[], int] | None,
    said: Callable[[], tuple[int, int]] = lambda: (0, 0),
) -> Usage:
    """What an answer has used: ``told``, and where that says nothing, estimates from the request (of about
    ``prompt()`` tokens) and from the words that have come (``said()``: pieces, bytes)."""
    if told.input_told and told.output_told:
        return told
    usage, estimated = replace(told), []
    if not told.input_told:
        usage.input_tokens = prompt() if prompt is not None else 0
        estimated.append("input")
    if not told.output_told:
        usage.output_tokens = max(told.output_tokens, tokens_of(*said()))
        estimated.append("output")
    usage.estimated = frozenset(estimated)
    return usage


@contextmanager
def paid(exchange: Exchange, told: Usage) -> Iterator[None]:
    """Around whatever finds out if an answer is any good: when it is not, the call has used nevertheless what
    the answer has ``told``, if it has told."""
    try:
        yield
    except ProviderError:
        if told.input_told or told.output_told:
            exchange.spend(so_far(told, exchange.prompt))
        raise


class Asking:
    """``with Asking(call.exchange):`` around all that is done until there is an answer: when it ends with an
    exception, what the call has used is noted in its exchange."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        exchange = self._exchange
        if isinstance(error, ProviderError):
            exchange.attempts += error.attempts - 1
        if error is None or exchange.prompt is None or is_refusal(error):
            return
        exchange.spend(Usage(input_tokens=exchange.prompt(), estimated=frozenset(("input", "output"))))


def is_refusal(error: BaseException) -> bool:
    """Whether ``error`` says that the upstream has done nothing for the request."""
    if isinstance(error, Timeout):
        return error.stage in ("connect", "write")
    return isinstance(error, ProviderError) and not isinstance(error, ProtocolError)
