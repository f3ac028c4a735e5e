"""Conversations for the tests: drawn by Hypothesis, or made from a seed."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from providers.anthropic.models import snapshot

from .conversations import HABITS, Conversation, Document, Image, Part, Text, conversation, says
from .render import SIGNER
from .signing import signed, upstream_of

CLAUDE = {model.id: model for model in snapshot()}[SIGNER]
_SIGNERS = {dialect: upstream_of(dialect, CLAUDE) for dialect in ("messages", "responses")}


def talks(dialect: str) -> st.SearchStrategy[Conversation]:
    """Conversations of clients of ``dialect``."""
    habits = HABITS[dialect]
    return st.randoms(use_true_random=False).map(lambda chance: conversation(chance, habits))


def talk_for(upstream: str, dialect: str, seed: int) -> Conversation:
    """A conversation of a client of ``dialect`` that ``upstream`` has no reason to refuse."""
    return fitting(upstream, dialect, conversation(Random(seed), HABITS[dialect]))


def fitting(upstream: str, dialect: str, talk: Conversation) -> Conversation:
    """``talk`` as ``upstream`` takes it: signed by Claude; without the files that a local model cannot see
    and that were not answered yet, for which a 400 is the right answer."""
    if upstream == "anthropic":
        return signed(talk, _SIGNERS[dialect]) if dialect in _SIGNERS else talk
    return _in_words(talk) if upstream == "ollama" else talk


def _in_words(talk: Conversation) -> Conversation:
    answers = [
        index
        for index, turn in enumerate(talk.turns)
        if turn.role == "assistant" and any(map(says, turn.parts))
    ]
    past = answers[-1] if answers else -1
    turns = [
        turn if index < past else replace(turn, parts=tuple(map(_worded, turn.parts)))
        for index, turn in enumerate(talk.turns)
    ]
    return replace(talk, turns=tuple(turns))


def _worded(part: Part) -> Part:
    return Text("(a file)") if isinstance(part, Image | Document) else part
