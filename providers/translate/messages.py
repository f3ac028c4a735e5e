"""Chat messages → Anthropic turns.

The Messages API wants turns that begin with the user, every ``tool_use`` answered at the start of the
next user turn, and exactly one result for each. A chat client promises none of that, so turns are
assembled here, oldest message first. What is emitted depends only on the messages before it: a
longer conversation begins with the bytes of the shorter one, its last turn aside.
"""

from __future__ import annotations

from typing import Any

from . import _check, content
from ._check import Block
from .cache_control import marker
from .calls import Call, PendingCalls, named_call, read_calls, shaped_call
from .names import ToolNames

#: Turns that the API demands and the caller has not written.
START_TURN = "Begin."
END_TURN = "Continue."
#: Stands in a user's message before what a call has returned after it was answered.
LATER = "An earlier tool call has returned something more:"
MISSING_RESULT = "No result was recorded for this tool call."

Turn = dict[str, Any]


class Conversation:
    """Assembles ``system`` and ``messages``; call :meth:`add` for each message, then :meth:`finish`."""

    def __init__(self, names: ToolNames, *, system_turns: bool, custom_tools: frozenset[str]) -> None:
        self.system: list[Block] = []
        self.messages: list[Turn] = []
        #: Original names of the tools that the history calls, in order of first use.
        self.called: dict[str, None] = {}
        self._names = names
        self._custom = custom_tools
        self._system_turns = system_turns
        self._leading = True
        self._calls: PendingCalls[Block] = PendingCalls()
        self._rest: list[Block] = []
        self._notes: list[Block] = []  # system messages since the last user content
        self._thoughts: list[Block] = []  # thinking that no text and no call has followed yet
        self._left = False  # somebody else has spoken since, even if nothing is kept of it

    @property
    def answers_tools(self) -> bool:
        """True when the conversation so far ends in the middle of a tool loop."""
        return bool(self._calls)

    @property
    def loop_begins_with_thinking(self) -> bool:
        """True when the tool loop at the end of the conversation so far begins with a block of thinking."""
        begin: Turn = {}
        for turn in reversed(self.messages):
            if turn["role"] == "assistant":
                begin = turn
            elif turn["role"] == "user" and turn["content"][0]["type"] != "tool_result":
                break
        return bool(begin) and begin["content"][0]["type"] in content.THINKING

    def add_text(self, message: object) -> bool:
        """The next message, if it is the usual kind: a role, a text and nothing else. What follows is
        what :meth:`add` does with it, without the questions whose answers are known."""
        if type(message) is not dict or len(message) != 2:
            return False
        role, text = message.get("role"), message.get("content")
        if type(text) is not str or role not in ("user", "assistant", "system", "developer"):
            return False
        block = content.text_block(text)
        if role == "user":
            self._leading = False
            self._leave()
            if block is not None:
                if self._notes:
                    self._remind()
                self._rest.append(block)
        elif role == "assistant":
            self._leading = False
            if block is not None:
                self._say(block)
        else:
            self._leave()
            if block is not None:
                (self.system if self._leading else self._notes).append(block)
        return True

    def add(self, message: object, at: str) -> None:
        """The next message, which stands at the path ``at``. Raises ``BadRequest``."""
        message = _check.obj(message, at)
        role = _check.text(message.get("role"), f"{at}.role")
        if role != "assistant":
            self._leave()
        if role in ("system", "developer"):
            blocks = content.text_blocks(message.get("content"), f"{at}.content")
            (self.system if self._leading else self._notes).extend(_mark_last(blocks, message, at))
            return
        self._leading = False
        match role:
            case "user":
                self._add_user(message, at)
            case "assistant":
                self._add_assistant(message, at)
            case "tool" | "function":
                self._add_result(self._calls.asked_by(message, role, at), message, at)
            case _:
                raise _check.invalid(
                    f"{at}.role",
                    f"`{at}.role` must be system, developer, user, assistant, tool or function.",
                )

    def finish(self, *, prefill: bool) -> None:
        """Close the last turn. ``prefill``: the model continues a final assistant turn."""
        self._flush()
        if not self.messages:
            self.messages.append(_user(START_TURN))
        elif self.messages[-1]["role"] == "assistant":
            if prefill:
                _strip_end(self.messages[-1])
            else:
                self.messages.append(_user(END_TURN))

    def _add_user(self, message: Block, at: str) -> None:
        body = message.get("content")
        blocks: list[Block] = []
        if isinstance(body, list):
            for part, kind, place in content.parts(body, f"{at}.content"):
                if kind == "tool_result":
                    call_id = _check.text(part.get("tool_use_id"), f"{place}.tool_use_id")
                    self._add_result(self._calls.with_id(call_id), part, place)
                elif (block := content.user_block(part, kind, place)) is not None:
                    blocks.append(block)
        else:
            blocks = content.user_blocks(_check.text(body, f"{at}.content"), f"{at}.content")
        if blocks:
            self._remind()  # no system turn may stand between two user turns
            self._rest += _mark_last(blocks, message, at)

    def _add_assistant(self, message: Block, at: str) -> None:
        said = _read_assistant(message, at)
        if message.get("tool_calls") is not None:
            said += read_calls(message["tool_calls"], f"{at}.tool_calls", self._custom, said)
        if message.get("function_call") is not None:
            said.append(named_call(message["function_call"], f"{at}.function_call", frozenset()))
        spoken = False
        for part in said:
            if isinstance(part, dict) and part["type"] in content.THINKING:
                self._thoughts.append(part)
            else:
                self._say(part)
                spoken = True
        if spoken:
            _mark_last(self.messages[-1]["content"], message, at)

    def _say(self, part: Block | Call) -> None:
        """A text or a call of the assistant's, and the thinking before it. Thinking that leads to neither is
        left out: the API refuses a turn that ends with it."""
        turn = self._assistant_turn()
        if self._thoughts:
            turn += self._thoughts
            self._thoughts = []
        turn.append(self._use(part) if isinstance(part, Call) else part)

    def _use(self, call: Call) -> Block:
        """The ``tool_use`` block of a new call, which from now on waits for its result."""
        self.called.setdefault(call.name)
        self._calls.expect(call)
        use: Block = {
            "type": "tool_use",
            "id": call.wire,
            "name": self._names.wire(call.name),
            "input": call.arguments,
        }
        if call.mark is not None:
            use["cache_control"] = call.mark
        return use

    def _add_result(self, call: Call | None, message: Block, at: str) -> None:
        """The result of ``call``. One that nobody asked for is dropped."""
        body = message.get("content")
        blocks = content.user_blocks(body, f"{at}.content")
        mark = marker(message, at)
        if call is None:
            return
        result: Block = {"type": "tool_result", "tool_use_id": call.wire}
        for block in blocks:
            mark = block.pop("cache_control", None) or mark
        if blocks:
            result["content"] = body if isinstance(body, str) else blocks
        if message.get("is_error") is True:
            result["is_error"] = True
        if mark is not None:
            result["cache_control"] = mark
        self._calls.answer(call, result)

    def _leave(self) -> None:
        """The assistant's turn may be over: a request may have ended behind the message that comes now."""
        self._thoughts = []
        self._left = True

    def _assistant_turn(self) -> list[Block]:
        """The content of the assistant turn to extend: the open one when no user turn came between."""
        # With calls in it a turn that was left is over: a request that ended there had their results behind
        # it, and what the model has thought since is bound to them.
        if self._rest or self._notes or (self._calls and self._left):
            self._flush()
        self._left = False
        if not self.messages:
            self.messages.append(_user(START_TURN))
        if self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": []})
        blocks: list[Block] = self.messages[-1]["content"]
        return blocks

    def _flush(self) -> None:
        """Emit the user turn that has gathered, and the system messages behind it."""
        blocks = [result or _missing(call) for call, result in self._calls.drain()]
        blocks += self._rest
        if not (blocks and self._system_turns):
            blocks += map(_reminder, self._notes)
            self._notes = []
        if blocks:
            self.messages.append({"role": "user", "content": blocks})
        if self._notes:
            # Allowed only behind a user turn and before an assistant turn or the end.
            self.messages.append({"role": "system", "content": self._notes})
        self._rest, self._notes = [], []

    def _remind(self) -> None:
        self._rest += map(_reminder, self._notes)
        self._notes = []


def _read_assistant(message: Block, at: str) -> list[Block | Call]:
    """What an assistant message holds in its content, in order. Raises ``BadRequest``."""
    body = message.get("content")
    said: list[Block | Call] = []
    thought = False
    if isinstance(body, list):
        for part, kind, place in content.parts(body, f"{at}.content"):
            if kind == "tool_use":
                said.append(shaped_call(part, place))
            elif kind in content.THINKING:
                if (block := content.signed_thinking(part)) is not None:
                    said.append(block)
                    thought = True
            elif (block := content.plain_block(part, kind, place)) is not None:
                said.append(block)
    elif body is not None:
        said += content.text_blocks(_check.text(body, f"{at}.content"), f"{at}.content")
    if not said and (refusal := message.get("refusal")) is not None:
        said += content.text_blocks(_check.text(refusal, f"{at}.refusal"), f"{at}.refusal")
    return said if thought else [*_thinking_blocks(message), *said]


def _thinking_blocks(message: Block) -> list[Block]:
    """What Claude has thought as LiteLLM and LangChain keep it: beside the content, and in front of it."""
    beside = message.get("thinking_blocks")
    found: list[Block] = []
    for part in beside if isinstance(beside, list) else ():
        if isinstance(part, dict) and part.get("type") in ("thinking", "redacted_thinking"):
            block = content.signed_thinking(part)
            found += [block] if block is not None else []
    return found


def _missing(call: Call) -> Block:
    return {"type": "tool_result", "tool_use_id": call.wire, "content": MISSING_RESULT, "is_error": True}


def _reminder(block: Block) -> Block:
    """A later system message where the model takes no system turns; never moved to the front."""
    return {**block, "text": f"<system-reminder>\n{block['text']}\n</system-reminder>"}


def _user(text: str) -> Turn:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def _mark_last(blocks: list[Block], message: Block, at: str) -> list[Block]:
    """A marker on a message means: up to and with its last block."""
    mark = marker(message, at)
    if mark is not None and blocks:
        blocks[-1]["cache_control"] = mark
    return blocks


def _strip_end(turn: Turn) -> None:
    """The API refuses to continue a text that ends in white space."""
    last = turn["content"][-1]
    if last["type"] == "text":
        turn["content"][-1] = {**last, "text": last["text"].rstrip()}
