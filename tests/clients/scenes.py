"""What the clients are asked, and what the simulated model answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .client import ANSWER, Call, Client

Json = dict[str, Any]

MODEL = "claude-opus-5-5"
LOCAL_MODEL = "local:qwen3:8b"
#: It writes 16,384 tokens at most, which is less than some clients ask for.
COMPATIBLE_MODEL = "sim:gpt-4o"

OLD, NEW = "old words", "new words"
#: The files of the project; ``notes.txt`` is what the edit changes.
FILES = {"notes.txt": f"{OLD}\n", "plan.txt": "change the notes\n"}

QUESTION = "Which flower is it?"
EDIT = "Carry out the plan."
THOUGHTS = ("First I read both files.", "Now I change the notes.")
READS = ("toolu_read_notes", "toolu_read_plan")
WRITE = "toolu_write_notes"


@dataclass(frozen=True)
class Scene:
    """``play`` makes the script of the answers, of which each waits for its request."""

    prompt: str
    play: Callable[[Client, Path], list[Json]]
    model: str = MODEL
    #: Where the upstream is asked.
    upstream: str = "/v1/messages"

    def script(self, client: Client, project: Path) -> list[Json]:
        return [{"path": self.upstream, **answer} for answer in self.play(client, project)]


def _answer(client: Client, project: Path) -> list[Json]:
    # Who has tools offers them: a request for a title does not.
    tool = {} if client.shows.tools == "edits" else {"tool": client.reads(project / "notes.txt").name}
    return [{"text": f"It is a {ANSWER}.", "when": {"says": QUESTION, **tool}}]


def _edit(client: Client, project: Path) -> list[Json]:
    """Two reads at once, then the edit, each behind a thought; then a word that it is done."""
    notes, plan = (project / name for name in FILES)
    if client.shows.tools == "edits":
        edit = client.edit(notes, OLD, NEW)
        return [{"blocks": [_thought(THOUGHTS[0]), _text(f"A {ANSWER}.\n\n{edit}")], "when": {"says": EDIT}}]
    write = client.writes(notes, OLD, NEW)
    reads = [_use(READS[0], client.reads(notes)), _use(READS[1], client.reads(plan))]
    behind = {"tool": write.name, "result": True}
    return [
        {
            "blocks": [_thought(THOUGHTS[0]), _text("I read."), *reads],
            "when": {"tool": write.name, "says": EDIT, "result": False},
        },
        {"blocks": [_thought(THOUGHTS[1]), _use(WRITE, write)], "when": behind},
        {"text": f"Done: {ANSWER}.", "when": behind},
    ]


def _thought(text: str) -> Json:
    return {"type": "thinking", "thinking": text}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _use(call_id: str, call: Call) -> Json:
    return {"type": "tool_use", "id": call_id, "name": call.name, "input": call.input}


ASKED = Scene(QUESTION, _answer)
EDITED = Scene(EDIT, _edit)
EDITED_LOCALLY = replace(EDITED, model=LOCAL_MODEL, upstream="/api/chat")
EDITED_COMPATIBLY = replace(EDITED, model=COMPATIBLE_MODEL, upstream="/openai/v1/chat/completions")
#: With models whose templates refuse the system messages that Claude Code puts behind the first message.
EDITED_WITH_TEMPLATES = tuple(
    replace(EDITED_COMPATIBLY, model=model) for model in ("sim:quirk-no-system", "sim:quirk-system-first")
)
