"""Messages as chat templates of open models take them.

A template is a program that a model comes with (https://huggingface.co/docs/transformers/chat_templating),
and many stop with an error where a conversation is not as their authors thought of it: a system message
behind the first message, two messages of the user in a row, a list where they expect a text.

Nothing is ever changed, only written anew; and no message of the system moves to the front, where it would
claim to have been there from the beginning.
"""

from __future__ import annotations

from typing import Any

from .manner import Manner

Message = dict[str, Any]

#: What the assistant says where a template wants a word of its own between a tool's result and the user's.
HEARD = "I have the result."
#: Between the texts of one message.
_BETWEEN = "\n"
#: Between what were two messages.
_APART = "\n\n"
_SYSTEM = ("system", "developer")


def arranged(messages: object, manner: Manner) -> object:
    """``messages`` as ``manner`` wants them: itself when there is nothing to do, or it is no list of
    messages."""
    usual = manner.developer and manner.system and manner.late_system and manner.any_order
    if usual and not manner.strings:
        return messages
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return messages
    told: list[Message] = messages
    if not manner.developer:
        told = [_in_role(message, "system") if _role(message) == "developer" else message for message in told]
    if not (manner.late_system and manner.any_order and manner.system):
        told = _system_first(told)
    if not manner.system:
        told = _without_system(told)
    if not manner.any_order:
        told = _alternating(told)
    if manner.strings:
        told = [_with_text(message) for message in told]
    return told


def _system_first(messages: list[Message]) -> list[Message]:
    """The system's messages at the beginning as one; later ones as reminders by the user."""
    told: list[Message] = []
    for message in messages:
        if not told or _role(message) not in _SYSTEM:
            told.append(message)
        elif len(told) == 1 and _role(told[0]) in _SYSTEM:
            told = [_merged(told[0], message)]
        else:
            text = f"<system-reminder>\n{_text(message.get('content'))}\n</system-reminder>"
            told.append({"role": "user", "content": text})
    return told


def _without_system(messages: list[Message]) -> list[Message]:
    """The system's words in front of the user's first ones."""
    if not messages or _role(messages[0]) not in _SYSTEM:
        return messages
    instructions, *rest = messages
    said = _in_role(instructions, "user")
    if rest and _role(rest[0]) == "user":
        return [_merged(said, rest[0]), *rest[1:]]
    return [said, *rest]


def _alternating(messages: list[Message]) -> list[Message]:
    """The user, the assistant, the user, …: calls and their results belong to the assistant's turn."""
    told: list[Message] = []
    for message in messages:
        role, last = _role(message), told[-1] if told else {}
        if role in ("user", "assistant") and role == _role(last) and not last.get("tool_calls"):
            told[-1] = _merged(last, message)
            continue
        if role == "user" and _role(last) in ("tool", "function"):
            told.append({"role": "assistant", "content": HEARD})
        told.append(message)
    return told


def _merged(first: Message, second: Message) -> Message:
    """One message in the role of the first."""
    return {**second, **first, "content": _joined(first.get("content"), second.get("content"))}


def _joined(first: Any, second: Any) -> Any:
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}{_APART}{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _with_text(message: Message) -> Message:
    """``message`` with one text instead of a list of them; what else is in the list stays."""
    content = message.get("content")
    if not isinstance(content, list) or not all(_is_text(part) for part in content):
        return message
    return {**message, "content": _text(content)}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return _BETWEEN.join(part["text"] for part in content if _is_text(part))
    return content if isinstance(content, str) else ""


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _role(message: Message) -> Any:
    return message.get("role")


def _in_role(message: Message, role: str) -> Message:
    return {**message, "role": role}
