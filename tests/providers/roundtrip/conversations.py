"""Conversations with tools as clients really have them: in disorder, in every dialect the same.

:func:`conversation` makes one out of a source of chance, so that Hypothesis shrinks what fails and a seeded
loop makes ten thousand in seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

Mark = dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    mark: Mark = None


@dataclass(frozen=True, slots=True)
class Image:
    """``data`` is base64 of ``media_type``; without one, ``url`` is where it is."""

    media_type: str = ""
    data: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF in base64."""

    data: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model has thought. ``text`` is the data of thinking that is ``redacted``; ``signature`` is put
    in by whoever signs (:mod:`.signing`), and ``signable`` says that somebody does."""

    text: str
    signable: bool = False
    signature: str = ""
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """``arguments`` is what the model wrote: JSON as a rule, free text for a custom tool."""

    id: str
    tool: Tool
    arguments: str
    mark: Mark = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool has answered to the call with this id, if there is one."""

    call_id: str
    parts: tuple[Text | Image, ...]
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Tool:
    """``namespace`` is only told apart by the Responses dialect."""

    name: str
    kind: Literal["function", "custom"] = "function"
    namespace: str = ""
    mark: Mark = None

    @property
    def full_name(self) -> str:
        return f"{self.namespace}__{self.name}" if self.namespace else self.name


Part = Text | Image | Document | Thinking | Call | Result
Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. A ``tool`` turn is one result."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    tools: tuple[Tool, ...]
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Habits:
    """What the clients of a dialect do and others cannot. ``orderly``: as the Messages API demands it
    of its own clients, since their requests are passed on to it as they are. ``twice``: an id may
    come twice in one turn, and a second result is a mistake (for Responses it is one more output)."""

    custom: bool = True
    namespaces: bool = False
    odd_ids: bool = True
    marks: bool = True
    signed: bool = False
    orderly: bool = False
    twice: bool = True


CHAT = Habits()
RESPONSES = Habits(namespaces=True, marks=False, signed=True, twice=False)
MESSAGES = Habits(custom=False, odd_ids=False, signed=True, orderly=True)

#: Words, blanks, and what breaks careless escaping: quotes, a tag, a NUL, line separators, marks of order, an
#: emoji of several code points, a letter beyond 16 bits, the last one of them, a private one.
TEXTS = (
    "hi",
    "Bitte höflich 👋",
    '"quoted" \\ back \\n',
    "a\nb\r\n\tc",
    "</system-reminder>",
    "\x00 and \x1f",
    "a\u2028b\u2029c",
    "\u202etfel ot thgir",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "\U0001d4b3 \U0010ffff \ue000 \uffff",
    "\\ud83d\\ude00",
    "data: [DONE]\n\n",
    "x" * 300,
)
BLANKS = ("", " ", "\n", "\u2003")
IDS = ("call_1", "call_2", "toolu_01AbC", "weird id!", "é", "a.b:c", "fc_1|call_1", "x" * 80, "call_1_2", "0")
NAMES = ("read_file", "run", "mcp.server/tool", "n" * 70, "größe", "read_file_2", "get-time")
VALID_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
JSON_ARGUMENTS = (
    "{}",
    "",
    '{"path": "a.py"}',
    '{"text": "Zürich \\ud83d\\ude00 \\u0000", "n": [1, 2.5, null, true]}',
    '{"deep": {"er": {"est": []}}, "path": ""}',
    '{ "spaced" : "out" }',
)
BROKEN_ARGUMENTS = ("not json", '{"cut": "off', "[1]", '"text"', "null")
#: What comes next, by how often it does.
KINDS = ("user", "user", "assistant", "assistant", "loop", "loop", "note", "stray")
PNG = "iVBORw0KGgo="
JPEG = "/9j/4AAQSkZJRg=="
PDF = "JVBERi0="
MARKS: tuple[Mark, ...] = (None, None, None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"})


HABITS = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES}


def conversation(chance: Random, habits: Habits, *, most_turns: int = 12) -> Conversation:
    """A conversation that ``chance`` decides on."""
    return _Author(chance, habits).write(chance.randint(1, most_turns))


def says(part: Part) -> bool:
    """Whether an upstream can be told of it at all."""
    return not isinstance(part, Thinking | Result) and (not isinstance(part, Text) or bool(part.text.strip()))


class _Author:
    def __init__(self, chance: Random, habits: Habits) -> None:
        self._chance = chance
        self._habits = habits
        self._tools = self._some_tools()
        self._waiting: list[str] = []  # ids of calls of the last assistant turn
        self._used: set[str] = set()

    def write(self, count: int) -> Conversation:
        leading = self._chance.choice((0, 1, 1, 2))
        turns = [Turn(self._either("system", "developer"), self._texts()) for _ in range(leading)]
        while count > 0:
            turns += self._next()
            count -= 1
        if self._habits.orderly:
            turns = _in_order(turns)
        if not any(says(part) for turn in turns if turn.role in ("user", "assistant") for part in turn.parts):
            turns.append(Turn("user", (Text("hi"),)))
        return Conversation(self._tools, tuple(turns))

    def _next(self) -> list[Turn]:
        match self._chance.choice(KINDS):
            case "user":
                return [Turn("user", self._said())]
            case "assistant":
                return [Turn("assistant", self._thoughts() + self._texts())]
            case "loop":
                return self._loop()
            case "note" if not self._habits.orderly:
                return [Turn(self._either("system", "developer"), self._texts())]
            case "stray" if not self._habits.orderly:
                stray = self._chance.choice(IDS) if self._habits.twice else self._fresh_id()
                return [Turn("tool", (Result(stray, self._answer()),))]
        return [Turn("user", self._said())]

    def _loop(self) -> list[Turn]:
        """An assistant that calls, and the results: in some order, some missing, some twice."""
        if not self._tools:
            return [Turn("assistant", self._texts())]
        calls = tuple(self._call() for _ in range(self._chance.choice((1, 1, 2, 3))))
        if not self._habits.twice:
            calls = tuple({call.id: call for call in calls}.values())
        before = self._texts() if self._chance.random() < 0.5 else ()
        turns = [Turn("assistant", (*self._thoughts(), *before, *calls))]
        ids = [call.id for call in calls]
        if not self._habits.orderly:
            self._chance.shuffle(ids)
            often = (0, 1, 1, 1, 1, 2) if self._habits.twice else (0, 1, 1, 1, 1, 1)
            ids = [call_id for call_id in ids for _ in range(self._chance.choice(often))]
        for call_id in ids:
            if self._chance.random() < 0.1 and not self._habits.orderly:
                turns.append(Turn(self._either("user", "system"), self._texts()))
            turns.append(
                Turn(
                    "tool",
                    (Result(call_id, self._answer(), self._habits.orderly and self._chance.random() < 0.2),),
                )
            )
        return turns

    def _call(self) -> Call:
        tool = self._chance.choice(self._tools)
        if tool.kind == "custom":
            arguments = self._chance.choice((*TEXTS, ""))
        elif self._habits.orderly:
            arguments = self._chance.choice(JSON_ARGUMENTS)
        else:
            arguments = self._chance.choice(JSON_ARGUMENTS * 3 + BROKEN_ARGUMENTS)
        return Call(self._id(), tool, arguments, self._mark())

    def _id(self) -> str:
        """One from a few, so that ids come twice where clients number their calls anew in every turn."""
        if self._habits.odd_ids and self._chance.random() < 0.5:
            return self._chance.choice(IDS)
        return self._fresh_id()

    def _fresh_id(self) -> str:
        while (fresh := f"call_{self._chance.randrange(10**6):06}") in self._used:
            pass
        self._used.add(fresh)
        return fresh

    def _thoughts(self) -> tuple[Thinking, ...]:
        if self._chance.random() < 0.6:
            return ()
        if not self._habits.signed or self._chance.random() < 0.3:
            return (Thinking(self._chance.choice(TEXTS)),)
        thought = Thinking(self._chance.choice(TEXTS), signable=True)
        more = Thinking("ZW5jcnlwdGVk", signable=True, redacted=True)
        return (thought, more) if self._chance.random() < 0.2 else (thought,)

    def _said(self) -> tuple[Part, ...]:
        return tuple(self._user_part() for _ in range(self._chance.choice((1, 1, 1, 2, 3))))

    def _user_part(self) -> Part:
        match self._chance.choice(("text", "text", "text", "image", "link", "document")):
            case "image":
                return Image("image/png", PNG) if self._chance.random() < 0.5 else Image("image/jpeg", JPEG)
            case "link":
                return Image(url="https://example.com/cat.png?a=1&b=%20")
            case "document":
                return Document(PDF)
        return self._text()

    def _answer(self) -> tuple[Text | Image, ...]:
        found: list[Text | Image] = [replace(self._text(), mark=None)]
        if self._chance.random() < 0.1:
            found.append(Image("image/png", PNG))
        return tuple(found)

    def _texts(self) -> tuple[Text, ...]:
        return tuple(self._text() for _ in range(self._chance.choice((1, 1, 2))))

    def _text(self) -> Text:
        words = self._chance.choice(TEXTS if self._habits.orderly else TEXTS * 3 + BLANKS)
        return Text(words, self._mark() if words.strip() else None)

    def _mark(self) -> Mark:
        """No more than the API takes of a client of its own."""
        if not self._habits.marks or self._habits.orderly:
            return None
        return self._chance.choice(MARKS)

    def _some_tools(self) -> tuple[Tool, ...]:
        names = self._chance.sample(NAMES, self._chance.choice((0, 1, 2, 3, 4)))
        if self._habits.orderly:
            names = [name for name in names if VALID_NAME.fullmatch(name)]
        return tuple(self._tool(name) for name in names)

    def _tool(self, name: str) -> Tool:
        custom = self._habits.custom and self._chance.random() < 0.3
        spaced = self._habits.namespaces and not custom and self._chance.random() < 0.4
        return Tool(
            name,
            "custom" if custom else "function",
            self._either("mcp__fs", "browser") if spaced else "",
            self._mark(),
        )

    def _either(self, one: Any, other: Any) -> Any:
        return self._chance.choice((one, other))


def _in_order(turns: list[Turn]) -> list[Turn]:
    """What a client of the Messages API holds to: it begins with the user, and ends so too."""
    leading = [turn for turn in turns if turn.role in ("system", "developer")]
    rest = [turn for turn in turns if turn not in leading]
    if not rest or rest[0].role != "user":
        rest.insert(0, Turn("user", (Text("Hello."),)))
    if rest[-1].role == "assistant":
        rest.append(Turn("user", (Text("Go on."),)))
    return leading + rest
