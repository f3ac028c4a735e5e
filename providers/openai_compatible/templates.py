"""What is said of messages that a chat template does not take, and what may help (:mod:`.roles`).

llama.cpp passes the words of a template on with HTTP 500, vLLM and LM Studio with 400.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import ProviderError
from .manner import Manner
from .roles import arranged
from .shapes import plain_turns

#: DeepSeek: messages[0].role: unknown variant `developer`. Mistral: Input tag 'developer' found using
#: 'role' does not match. SGLang: 'role' must be one of. Qwen: Unexpected message role.
_DEVELOPER = re.compile(r"developer|\broles?\b", re.IGNORECASE)
#: DeepSeek: messages[2]: invalid type: sequence, expected a string. FastAPI: Input should be a valid
#: string. Groq: 'messages.1.content' : value must be a string. vLLM: can only concatenate str (not "list").
#: one-api: sequence item 0: expected str instance. LM Studio: Unknown ArrayValue filter: trim.
_STRINGS = re.compile(
    r"(messages?|content)\b.{0,200}(expected (a |an )?str|be a( valid)? string)|ArrayValue"
    r"|\(not \W{0,2}list\b|expected str instance",
    re.IGNORECASE | re.DOTALL,
)
#: Gemma, Mistral: Conversation roles must alternate user/assistant/… DeepSeek: does not support successive
#: user or assistant messages. Mistral: Unexpected role 'user' after role 'tool'.
_ORDER = re.compile(
    r"must alternate|successive (user|assistant)|Unexpected role '(user|assistant)' after", re.IGNORECASE
)
#: Qwen: System message must be at the beginning. Mistral: Only user, assistant and tool roles are
#: supported, got system. Mistral: Unexpected role 'system' after role 'tool'. Others: Only one system
#: message can be specified.
_LATE_SYSTEM = re.compile(
    r"system.{0,40}(beginning|first|start|only)|got system|(role|variant) \W?system|one system", re.IGNORECASE
)
#: Gemma: System role not supported. Or it counts among the roles that alternate.
_SYSTEM = re.compile(
    r"system.{0,20} not supported|got system|variant \W?system|must alternate|only user", re.IGNORECASE
)
_ARRANGEMENTS: tuple[tuple[re.Pattern[str], dict[str, Any]], ...] = (
    (_DEVELOPER, {"developer": False}),
    (_STRINGS, {"strings": True}),
    (_ORDER, {"any_order": False}),
    (_LATE_SYSTEM, {"late_system": False}),
    (_SYSTEM, {"system": False}),
)


def otherwise(body: Mapping[str, Any], manner: Manner, error: ProviderError) -> Manner | None:
    """How the messages of ``body`` may be taken; None when ``error`` is not about how they are arranged, or
    they are arranged so already."""
    said = f"{error.param} {error.message}"
    messages: object = None
    for sign, change in _ARRANGEMENTS:
        other = replace(manner, **change)
        if other != manner and sign.search(said):
            messages = plain_turns(body.get("messages")) if messages is None else messages
            if arranged(messages, other) != arranged(messages, manner):
                return other
    return None
