"""The models of the simulated OpenAI API, and servers of the same API that behave otherwise.

Sizes and behaviour as on https://platform.openai.com/docs/models (November 2026), except that the
reasoning model shows its thoughts as ``reasoning_content``, as DeepSeek, vLLM and most others do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

#: How other servers differ; a model is called ``quirk-<one>`` or ``quirk-<one>+<another>``.
Quirk = Literal[
    "no-done",  # the stream ends without [DONE]
    "bare-done",  # the stream ends behind [DONE], without the empty line
    "crlf",  # lines end with CRLF, as sse-starlette writes them
    "spaced",  # JSON as Python's json.dumps writes it
    "comments",  # ": OPENROUTER PROCESSING" now and then
    "no-stream-options",  # refuses stream_options, as FastAPI servers refuse what they do not know
    "no-usage",  # takes stream_options and reports no usage in a stream
    "legacy-max-tokens",  # refuses max_completion_tokens
    "nine-letter-ids",  # wants tool call ids of nine letters and digits, as Mistral
    "error-200",  # refuses with HTTP 200 and an error object, as OpenRouter after it has begun
    "paid-refusals",  # refuses when it has read the prompt, in an answer, and bills it, as OpenRouter may
    "json-stream",  # answers a stream with one JSON object
    "functions-only",  # takes no custom tools, as vLLM
    "functions-only-500",  # as llama.cpp, which says so with HTTP 500
    "no-completions",  # has no endpoint for texts
    "no-suffix",  # completes texts, but fills nothing in, as vLLM
    "range",  # writes 8,192 tokens at most and says so as DeepSeek
    "window",  # has a context of 40,960 tokens and says so as vLLM
    "strings",  # takes content as a text only, as DeepSeek
    "no-developer",  # does not know the role, as DeepSeek
    "system-first",  # has the template of Qwen
    "alternating",  # has the template of Devstral, in llama.cpp
    "no-system",  # has the template of Gemma, in vLLM
    "no-stream",  # streams to nobody, as OpenAI to organisations that are not verified
    "word-choice",  # takes no object for tool_choice, as LM Studio
    "no-strict",  # does not know the word
    "plain-schemas",  # knows few keywords of JSON Schema, as Gemini
    "three-efforts",  # reasons, with low, medium or high
]


@dataclass(slots=True, frozen=True)
class OpenAIModel:
    """One model. Sizes are tokens; ``dimensions`` is the length of its vectors, 0 for a chat model."""

    id: str
    created: int = 1_715_367_049
    context: int = 128_000
    max_output: int = 16_384
    #: Values of ``reasoning_effort``; none for a model that does not reason.
    efforts: tuple[str, ...] = ()
    images: bool = True
    dimensions: int = 0
    #: Completes texts, and cannot chat.
    completes: bool = False
    #: Whether ``dimensions`` may be asked for.
    shortens: bool = False
    quirks: frozenset[str] = frozenset()

    @property
    def reasons(self) -> bool:
        return bool(self.efforts)

    def wire(self) -> dict[str, Any]:
        """The object of ``GET /models`` (openai SDK ``Model``)."""
        return {"id": self.id, "object": "model", "created": self.created, "owned_by": "system"}


_ALL_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
MODELS = {
    model.id: model
    for model in (
        OpenAIModel("gpt-4o"),
        OpenAIModel("gpt-4", 1_687_882_411, context=8_192, max_output=8_192, images=False),
        OpenAIModel("gpt-5.1", 1_762_800_673, context=400_000, max_output=128_000, efforts=_ALL_EFFORTS),
        OpenAIModel(
            "gpt-3.5-turbo-instruct",
            1_692_901_427,
            context=4_096,
            max_output=4_096,
            images=False,
            completes=True,
        ),
        OpenAIModel("text-embedding-3-small", 1_705_948_997, context=8_191, dimensions=1_536, shortens=True),
        OpenAIModel("text-embedding-ada-002", 1_671_217_299, context=8_191, dimensions=1_536),
    )
}


def find(name: str) -> OpenAIModel | None:
    """The model of that name."""
    if name.startswith("quirk-"):
        quirks = frozenset(name.removeprefix("quirk-").split("+"))
        efforts = ("low", "medium", "high") if "three-efforts" in quirks else ()
        return replace(MODELS["gpt-4o"], id=name, quirks=quirks, efforts=efforts)
    return MODELS.get(name)
