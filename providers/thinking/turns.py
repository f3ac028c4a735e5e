"""One assistant turn as it is kept, and how it is recognised when a caller replays it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from ..translate._check import Block, as_json
from ..translate.content import THINKING
from ..translate.messages import Turn

#: Bytes of a digest. They tell turns apart that belong to one caller, not to an enemy.
DIGEST_SIZE = 16
#: How long a caller's id of a tool call may be to be looked for; the API's own have 30 characters.
MAX_KEY = 128

#: About how many bytes of memory a block takes beside its texts.
_BLOCK_SIZE = 400

#: Thinking that a client has written into the text.
_THINK = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)


@dataclass(slots=True, frozen=True)
class KeptTurn:
    """What the model has written in one turn, never changed.

    ``prefix`` is the digest of all that it had before it (:class:`PromptDigest`), ``calls`` that of its tool
    calls. ``blocks`` are in order: ``thinking`` and ``redacted_thinking`` as the API takes them back,
    ``text``, and ``{"type": "tool_use", "id": …}`` for the place of a call. Empty ``blocks``: the upstream
    has refused the thinking of this turn, behind that prefix (b"": more than once).
    """

    model: str = ""
    prefix: bytes = b""
    calls: bytes = b""
    blocks: tuple[Block, ...] = ()
    #: About how many bytes of memory it takes.
    size: int = field(default=0, compare=False)

    def is_said_in(self, content: Sequence[Block]) -> bool:
        """Whether the caller has replayed this turn: its calls, and its text if it has kept that. Clients
        trim and join texts, and some write the thinking into them."""
        if calls_digest(block for block in content if block["type"] == "tool_use") != self.calls:
            return False
        text, said = _text(content), _text(self.blocks)
        if not text or text == said:
            return True
        said = _squeezed(said)
        return _squeezed(text) == said or _squeezed(_THINK.sub("", text)) in ("", said)

    def was_refused_elsewhere(self, prompt: PromptDigest, index: int) -> bool:
        """Whether it was refused, but behind something else than what stands before turn ``index``."""
        return not self.blocks and bool(self.prefix) and self.prefix != prompt.before(index)

    def put_into(self, content: Sequence[Block]) -> list[Block]:
        """The blocks of the turn: thinking and text as the model wrote them, calls and markers of the cache
        as the caller sent them."""
        calls = {block["id"]: block for block in content if block["type"] == "tool_use"}
        out = [calls[block["id"]] if block["type"] == "tool_use" else block for block in self.blocks]
        marks = [block["cache_control"] for block in content if _is_marked_text(block)]
        if marks:
            for index in range(len(out) - 1, -1, -1):
                if out[index]["type"] == "text":
                    out[index] = {**out[index], "cache_control": marks[-1]}
                    break
        return out


#: Takes the place of a turn whose thinking the upstream has refused wherever it stood.
REFUSED = KeptTurn(size=_BLOCK_SIZE)


def refused_behind(prefix: bytes) -> KeptTurn:
    """Takes the place of a turn whose thinking the upstream has refused behind ``prefix``."""
    return KeptTurn(prefix=prefix, size=_BLOCK_SIZE)


def kept_turn(model: str, prefix: bytes, blocks: Sequence[Block]) -> KeptTurn:
    """The turn that ``model`` has written behind ``prefix``; its calls with names and inputs."""
    calls = calls_digest(block for block in blocks if block["type"] == "tool_use")
    kept = tuple(_place(block) if block["type"] == "tool_use" else block for block in blocks)
    return KeptTurn(model, prefix, calls, kept, size_of(kept))


def size_of(blocks: Sequence[Block]) -> int:
    """About how many bytes of memory a turn of these blocks takes."""
    return sum(_size(text) for block in blocks for text in block.values()) + _BLOCK_SIZE * (len(blocks) + 1)


class PromptDigest:
    """A running digest of a prompt: tools, system, turns. Markers of the cache take no part in it: they
    wander from request to request, and the prefix that thinking is bound to does not contain them."""

    __slots__ = ("_done", "_hash", "_messages", "_tools_and_system")

    def __init__(self, tools: list[Block], system: list[Block], messages: list[Turn]) -> None:
        self._tools_and_system = tools, system
        self._messages = messages
        self._hash: Any = None
        self._done = 0

    def before(self, index: int) -> bytes:
        """The digest of all that stands before turn ``index``; indexes only grow from call to call. Raises
        ``BadRequest`` for what cannot be written as JSON."""
        if self._hash is None:
            self._hash = sha256(as_json([_unmarked(blocks) for blocks in self._tools_and_system]))
        update = self._hash.update
        for turn in self._messages[self._done : index]:
            update(as_json([turn["role"], _unmarked(turn["content"])]))
        self._done = index
        digest: bytes = self._hash.digest()
        return digest[:DIGEST_SIZE]

    def anew(self) -> PromptDigest:
        """The same from its beginning."""
        return PromptDigest(*self._tools_and_system, self._messages)

    def whole(self) -> bytes:
        """The digest of everything, once all turns are there."""
        return self.before(len(self._messages))


def calls_digest(calls: Iterable[Block]) -> bytes:
    """Of ids, names and inputs of ``tool_use`` blocks; b"" for what cannot be written as JSON.

    Clients parse the arguments and write them anew: keys change places, JavaScript writes ``1.0`` as ``1``.
    """
    try:
        said = [[call["id"], call["name"], _canonical(call["input"])] for call in calls]
        return sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()[:DIGEST_SIZE]
    except (TypeError, RecursionError):
        return b""


def turn_key(content: Iterable[Any]) -> str:
    """What a turn is kept under: the id of its first tool call; without one, a name of its first thinking (a
    turn that ends with text is kept only when its thinking was refused). "" for neither."""
    first = ""
    for block in content:
        if not isinstance(block, dict):
            continue
        kind = block.get("type")  # of a caller's: anything
        if kind == "tool_use":
            call_id = block.get("id")
            return call_id if isinstance(call_id, str) and len(call_id) <= MAX_KEY else ""
        if not first and kind in ("thinking", "redacted_thinking"):
            proof = block.get("signature") or block.get("data")
            if isinstance(proof, str):
                first = f"thinking:{sha256(proof.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
    return first


def thinks(content: Iterable[Block]) -> bool:
    """Whether there is thinking in a turn."""
    return any(block["type"] in THINKING for block in content)


def without_thinking(content: Iterable[Block]) -> list[Block]:
    return [block for block in content if block["type"] not in THINKING]


def _size(text: str) -> int:
    """One character outside of Latin-1 makes two bytes of every one, an emoji four; and a string that is not
    ASCII keeps its UTF-8 form, too, from when it is first sent."""
    size = sys.getsizeof(text)
    return size if text.isascii() else size + len(text.encode("utf-8", "surrogatepass"))


def _place(call: Block) -> Block:
    return {"type": "tool_use", "id": call["id"]}


def _unmarked(blocks: list[Block]) -> list[Block]:
    return [
        {key: value for key, value in block.items() if key != "cache_control"}
        if "cache_control" in block
        else block
        for block in blocks
    ]


def _is_marked_text(block: Block) -> bool:
    return block["type"] == "text" and "cache_control" in block


def _text(content: Iterable[Block]) -> str:
    return "".join([block["text"] for block in content if block["type"] == "text"])


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _canonical(value: Any) -> Any:
    if type(value) is float and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if type(value) is dict:
        return {key: _canonical(item) for key, item in value.items()}
    return [_canonical(item) for item in value] if type(value) is list else value
