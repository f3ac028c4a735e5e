"""The strict simulated upstreams accept what is translated for them, whatever a client has sent."""

from __future__ import annotations

from itertools import product

import pytest

from .judges import Court
from .render import RENDERED
from .talks import talk_for
from .ten_thousand import accept

pytestmark = pytest.mark.anyio

#: A tenth of a millisecond to one for each; ``ten_thousand`` hears all of them everywhere.
COUNT = {("chat", "anthropic"): 10_000, ("responses", "anthropic"): 2_000}
USUAL = 500
PAIRS = list(product(("chat", "messages", "responses"), ("anthropic", "ollama", "openai")))
#: Refusals from which the adapter learns how a server wants to be asked, once for each model.
LESSONS = {"anthropic": 0, "ollama": 0, "openai": 8}


@pytest.mark.parametrize(("dialect", "upstream"), PAIRS)
async def test_generated_conversations_are_accepted(dialect: str, upstream: str) -> None:
    refused = await accept(dialect, upstream, range(COUNT.get((dialect, upstream), USUAL)))
    assert refused <= LESSONS[upstream]


async def test_the_judges_refuse() -> None:
    """What was not translated; so that nobody sleeps on the bench."""
    court = Court("anthropic")
    body = RENDERED["messages"](talk_for("anthropic", "messages", 1))
    body["messages"].append({"role": "user", "content": [{"type": "text", "text": ""}]})
    with pytest.raises(Exception, match="non-empty"):
        await court.hear("messages", body)
    assert court.judge.refused == 1
    await court.aclose()
