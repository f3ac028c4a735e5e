"""The dialect lens: the request shapes seen as one sequence of parts.

Chat completions (``messages``), Anthropic Messages (``system`` + ``messages``) and OpenAI Responses
(``instructions`` + ``input``) say the same things in different places, and a lone ``message`` is the
shortest of them. :func:`view` shows them as parts in the order in which the model reads them, so that a
rewriting middleware is written once. What the lens sees is decided by shape, item by item, never by
the path: clients post one vendor's shapes to another vendor's path.

It reads whatever JSON it is given. What it does not know, and what has the wrong type, is not seen and
not touched: refusing it is the application's business.

Parts that a rewrite must not alter (thinking is bound to its bytes, tool calls are the model's own
words) carry no ``text``, and their ``path`` leads to no string, so :meth:`ChatView.with_texts` cannot
reach them. Assistant text can be read; leave it as it is for the same reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ._paths import canonical
from ._reject import dialect_of

Kind = Literal[
    "system", "user_text", "assistant_text", "tool_result", "tool_call", "file", "image", "thinking"
]
Shape = Literal["chat", "anthropic", "responses", "message"]
Path = tuple[str | int, ...]

#: Where the tokens of a request are counted. What is counted has to be what would be sent, so these are
#: rewritten as the request itself would be.
COUNT_PATHS = frozenset(
    f"{base}{path}" for base in ("/v1", "") for path in ("/messages/count_tokens", "/responses/input_tokens")
)
#: Where chats are posted. Base URLs are often given without ``/v1``.
CHAT_PATHS = COUNT_PATHS | {
    "/chat",
    *(f"{base}{path}" for base in ("/v1", "") for path in ("/chat/completions", "/messages", "/responses")),
}
#: Where an answer can be asked for as a stream of events.
STREAM_PATHS = (CHAT_PATHS - COUNT_PATHS - {"/chat"}) | {"/v1/completions", "/completions"}
EMBEDDING_PATHS = frozenset({"/v1/embeddings", "/embeddings"})

#: Shape -> where its system prompt and its turns are.
_PLACES: dict[Shape, tuple[str, str]] = {
    "chat": ("system", "messages"),
    "anthropic": ("system", "messages"),
    "responses": ("instructions", "input"),
    "message": ("system", "message"),
}
_TEXT_KIND: dict[str, Kind] = {
    "system": "system",
    "developer": "system",
    "user": "user_text",
    "assistant": "assistant_text",
    "tool": "tool_result",
    "function": "tool_result",
}
_TEXT = frozenset({"text", "input_text", "output_text"})
_OPAQUE: dict[str, Kind] = {
    "thinking": "thinking",
    "redacted_thinking": "thinking",
    "reasoning": "thinking",
    "tool_use": "tool_call",
    "server_tool_use": "tool_call",
    "mcp_tool_use": "tool_call",
    "image": "image",
    "image_url": "image",
    "input_image": "image",
}
_FILE = frozenset({"document", "file", "input_file"})


@dataclass(slots=True)
class Part:
    """One piece of a conversation. Read it, do not change it.

    ``text`` is None for what is not text or must not be rewritten. ``path`` leads to the text in the
    body (without text: to the block). ``turn`` is the index of the message or input item, -1 for the
    top-level system prompt. ``unit`` is the path of what the part belongs to: its tool result, or else
    its message. ``call_id`` joins tool calls and results; ``name`` is the tool's or the file's.
    """

    kind: Kind
    role: str
    text: str | None
    path: Path
    turn: int
    unit: Path
    call_id: str | None = None
    name: str | None = None


class ChatView:
    """A parsed request body seen through the lens; made by :func:`view`.

    ``shape`` is the dialect of the body, for whoever has to add a field to it.
    """

    __slots__ = ("body", "shape")

    def __init__(self, body: dict[str, Any], shape: Shape) -> None:
        self.body = body
        self.shape: Shape = shape

    def parts(self) -> list[Part]:
        """Every part, in the order in which the model reads them. Empty texts are left out."""
        out: list[Part] = []
        prompt, turns = _PLACES[self.shape]
        _content(out, "system", "system", self.body.get(prompt), (prompt,), -1, (prompt,), None)
        items = self.body[turns]
        if isinstance(items, str):
            _content(out, "user_text", "user", items, (turns,), 0, (turns,), None)
            return out
        for turn, item in enumerate(items):
            if isinstance(item, dict):
                role = item.get("role")
                if isinstance(role, str):
                    _message(out, role, item, (turns, turn), turn)
                else:
                    _item(out, item, (turns, turn), turn)
        return out

    def with_texts(self, texts: Mapping[Path, str]) -> dict[str, Any]:
        """The body with other texts at the given paths; the same object when nothing differs.

        Only the containers on the way to a changed text are copied; everything else is shared with
        the original, which stays as it was. Raises ``TypeError`` when a path leads to no text.
        """
        root: Any = self.body
        copies: dict[Path, Any] = {}
        for path, text in texts.items():
            old = _at(root, path)
            if not isinstance(old, str):
                raise TypeError(f"there is no text at {path}")
            if old == text:
                continue
            node = copies.get(())
            if node is None:
                node = copies[()] = root.copy()
            for end, key in enumerate(path[:-1], 1):
                child = copies.get(path[:end])
                if child is None:
                    child = copies[path[:end]] = node[key].copy()
                    node[key] = child
                node = child
            node[path[-1]] = text
        result: dict[str, Any] = copies.get((), root)
        return result


def view(body: Any, path: str = "") -> ChatView | None:
    """Look at a parsed request body; None when it has none of the shapes.

    ``path`` decides only what the shape leaves open: a body with ``messages`` and no ``system`` is
    Anthropic's on ``/v1/messages`` and chat's elsewhere; on ``/chat`` an ``input`` beside the ``message``
    means nothing.
    """
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("messages"), list):
        anthropic = "system" in body or dialect_of({"path": path}) == "anthropic"
        return ChatView(body, "anthropic" if anthropic else "chat")
    lone = isinstance(body.get("message"), str)
    if isinstance(body.get("input"), str | list) and not (lone and canonical(path) == "/chat"):
        return ChatView(body, "responses")
    if lone:
        return ChatView(body, "message")
    return None


def _at(node: Any, path: Path) -> Any:
    try:
        for key in path:
            node = node[key]
    except (KeyError, IndexError, TypeError):
        return None
    return node


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _message(out: list[Part], role: str, item: dict[str, Any], path: Path, turn: int) -> None:
    """A message: chat's, Anthropic's, or Responses' ``{"type": "message"}``."""
    kind = _TEXT_KIND.get(role)
    if kind is None:
        return
    if kind != "assistant_text":
        call_id = _str(item.get("tool_call_id")) if kind == "tool_result" else None
        _content(out, kind, role, item.get("content"), (*path, "content"), turn, path, call_id)
        return
    if item.get("reasoning_content"):
        out.append(Part("thinking", role, None, path, turn, path))
    _content(out, kind, role, item.get("content"), (*path, "content"), turn, path, None)
    calls = item.get("tool_calls")
    if isinstance(calls, list):
        for index, call in enumerate(calls):
            if isinstance(call, dict):
                _call(out, call, (*path, "tool_calls", index), turn, path)
    if isinstance(item.get("function_call"), dict):
        _call(out, {"function": item["function_call"]}, (*path, "function_call"), turn, path)


def _call(out: list[Part], call: dict[str, Any], path: Path, turn: int, unit: Path) -> None:
    what = call.get("function") or call.get("custom")
    name = _str(what.get("name")) if isinstance(what, dict) else None
    out.append(Part("tool_call", "assistant", None, path, turn, unit, _str(call.get("id")), name))


def _item(out: list[Part], item: dict[str, Any], path: Path, turn: int) -> None:
    """An input item of Responses that is not a message: a call, its output, or reasoning."""
    kind = item.get("type")
    if not isinstance(kind, str):
        return
    call_id = _str(item.get("call_id"))
    if kind.endswith("_call"):
        out.append(Part("tool_call", "assistant", None, path, turn, path, call_id, _str(item.get("name"))))
    elif kind.endswith("_output"):
        _content(out, "tool_result", "tool", item.get("output"), (*path, "output"), turn, path, call_id)
    elif kind == "reasoning":
        out.append(Part("thinking", "assistant", None, path, turn, path))


def _content(
    out: list[Part],
    kind: Kind,
    role: str,
    content: Any,
    path: Path,
    turn: int,
    unit: Path,
    call_id: str | None,
) -> None:
    """Content is a string or a list of blocks; its texts are of ``kind``."""
    if isinstance(content, str):
        if content:
            out.append(Part(kind, role, content, path, turn, unit, call_id))
        return
    if not isinstance(content, list):
        return
    for index, block in enumerate(content):
        if not isinstance(block, dict):
            continue
        sort = block.get("type")
        if not isinstance(sort, str):
            continue
        here = (*path, index)
        if sort in _TEXT or sort == "refusal":
            key = "refusal" if sort == "refusal" else "text"
            text = block.get(key)
            if text and isinstance(text, str):
                out.append(Part(kind, role, text, (*here, key), turn, unit, call_id))
        elif sort == "tool_result":
            # Only a block of a message holds a tool result; one inside another is not a shape we know.
            if kind != "tool_result":
                _content(
                    out,
                    "tool_result",
                    role,
                    block.get("content"),
                    (*here, "content"),
                    turn,
                    here,
                    _str(block.get("tool_use_id")),
                )
        elif sort in _OPAQUE:
            opaque = _OPAQUE[sort]
            own = _str(block.get("id")) if opaque == "tool_call" else call_id
            out.append(Part(opaque, role, None, here, turn, unit, own, _str(block.get("name"))))
        elif sort in _FILE:
            out.append(_file(block, role, here, turn, unit, call_id))


def _file(block: dict[str, Any], role: str, path: Path, turn: int, unit: Path, call_id: str | None) -> Part:
    """A document. Its text is seen when it is there as text (Anthropic's ``source.type: text``)."""
    inner = block.get("file")
    name = _str((inner if isinstance(inner, dict) else block).get("filename")) or _str(block.get("title"))
    source = block.get("source")
    if isinstance(source, dict) and source.get("type") == "text":
        text = _str(source.get("data"))
        if text:
            return Part("file", role, text, (*path, "source", "data"), turn, unit, call_id, name)
    return Part("file", role, None, path, turn, unit, call_id, name)
