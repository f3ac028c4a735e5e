"""The adapters that the contract is about. To add a provider, add a :class:`Subject` to ``SUBJECTS``.

A subject says how to make the provider against the simulated upstream, which of that upstream's models
to use, and what the provider does not keep, with the reason in a full sentence.
"""

from __future__ import annotations

from providers.anthropic.adapter import AnthropicProvider
from providers.claude_cloud.adapter import ClaudeCloudProvider, bedrock, vertex
from providers.ollama.adapter import OllamaProvider
from providers.openai_compatible.adapter import OpenAICompatibleProvider
from providers.simulated.adapter import SimulatedProvider

# The cases register themselves.
from . import (  # noqa: F401
    contract_answers,
    contract_content,
    contract_dialects,
    contract_faults,
    contract_flow,
    contract_models,
    contract_requests,
    contract_tools,
    contract_usage,
)
from .contract import CASES, SECRET, Models, OptOut, Subject


def _all(needs: str, opt_out: OptOut) -> dict[str, OptOut]:
    """Every case that needs a feature, opted out for the same reason."""
    return {name: opt_out for name, case in CASES.items() if case.needs == needs}


_TRANSLATED = OptOut("Its upstream speaks another dialect, so that a request in Anthropic's is translated.")

#: Wherever Claude answers.
CLAUDE = {
    **_all("embeddings", OptOut("The Messages API has no embeddings; other providers answer for them.")),
    **_all("completions", OptOut("The Messages API completes no texts; other providers do.")),
    "blind_model": OptOut("There is no such model: every Claude sees."),
}

ANTHROPIC = Subject(
    name="anthropic",
    make=lambda client, origin, timeouts: AnthropicProvider(
        client, api_key=SECRET, base_url=origin, timeouts=timeouts
    ),
    path="/v1/messages",
    models=Models(plain="claude-opus-5", small="claude-haiku-4-5"),
    opt_outs=CLAUDE,
)

BEDROCK = Subject(
    name="bedrock",
    make=lambda client, origin, timeouts: ClaudeCloudProvider(
        bedrock(
            client, region="eu-north-1", timeouts=timeouts, base_url=f"{origin}/anthropic", api_key=SECRET
        ),
        name="bedrock",
        models=["anthropic.claude-opus-5"],
    ),
    path="/anthropic/v1/messages",
    models=Models(plain="anthropic.claude-opus-5", small="anthropic.claude-haiku-4-5"),
    opt_outs={
        **CLAUDE,
        "list_fails": OptOut(
            "The cloud has no list of models to ask for; what is configured is what there is."
        ),
    },
)

VERTEX = Subject(
    name="vertex",
    make=lambda client, origin, timeouts: ClaudeCloudProvider(
        vertex(
            client,
            project="p",
            region="europe-west1",
            timeouts=timeouts,
            base_url=f"{origin}/v1",
            access_token=SECRET,
        ),
        name="vertex",
        models=["claude-opus-5"],
    ),
    path="/v1/projects/p/locations/europe-west1/publishers/anthropic/models/claude-opus-5:streamRawPredict",
    models=ANTHROPIC.models,
    opt_outs=BEDROCK.opt_outs,
)

#: 64 hexadecimal digits, as Cloudflare makes them.
ACCESS_SECRET = "0123456789abcdef" * 4
LOCAL = ("qwen2.5:7b", "qwen3:8b", "gemma3:12b", "nomic-embed-text:latest")

OLLAMA = Subject(
    name="ollama",
    make=lambda client, origin, timeouts: OllamaProvider(
        client,
        base_url=origin,
        models=LOCAL,
        timeouts=timeouts,
        headers=(
            (b"cf-access-client-id", b"id.access"),
            (b"cf-access-client-secret", ACCESS_SECRET.encode()),
        ),
    ),
    path="/api/chat",
    models=Models(
        plain="qwen2.5:7b",
        thinking="qwen3:8b",
        images="gemma3:12b",
        blind="qwen2.5:7b",
        embedding="nomic-embed-text:latest",
    ),
    usage=lambda prompt, _cached, output: {"prompt_eval_count": prompt, "eval_count": output},
    counts_cached=False,
    tells_input=False,
    secret=ACCESS_SECRET,
    models_path="/api/tags",
    embeddings_path="/api/embed",
    opt_outs={
        "forced_tool": OptOut(
            "Ollama has no `tool_choice`; the model is asked for the call in words, which it may ignore.",
            dropped="tool_choice",
        ),
        "documents": OptOut("Ollama takes texts and images, and no other files.", param="messages"),
        "messages_pass": _TRANSLATED,
        "passed_usage": _TRANSLATED,
        "content_filter": OptOut("Local models have no filter of the upstream's that could end an answer."),
    },
)

OPENAI = Subject(
    name="openai-compatible",
    make=lambda client, origin, timeouts: OpenAICompatibleProvider(
        client, name="openai-compatible", base_url=f"{origin}/openai/v1", api_key=SECRET, timeouts=timeouts
    ),
    path="/openai/v1/chat/completions",
    models=Models(
        plain="gpt-4o",
        thinking="gpt-5.1",
        blind="gpt-4",
        embedding="text-embedding-3-small",
        completing="gpt-3.5-turbo-instruct",
        small="gpt-4",
        overflow=100_000,
    ),
    tells_input=False,
    models_path="/openai/v1/models",
    embeddings_path="/openai/v1/embeddings",
    opt_outs={
        "messages_pass": _TRANSLATED,
        "passed_usage": _TRANSLATED,
        "one_choice": OptOut("The request is passed on as it is, and the upstream answers several choices."),
        "broken_bytes": OptOut(
            "Chunks that hold nothing but a piece of text are passed on as they are, without being parsed."
        ),
        "then_no_end": OptOut(
            "Some servers forget `[DONE]`: an answer with its finish whose body has ended is complete."
        ),
    },
)

NO_NETWORK = OptOut(
    "It answers within the gateway's own process: there is no upstream that could fail or be scripted."
)

SIMULATED = Subject(
    name="simulated",
    make=lambda _client, _origin, _timeouts: SimulatedProvider(pace=0),
    path=None,
    models=ANTHROPIC.models,
    opt_outs={
        **{name: NO_NETWORK for name, case in CASES.items() if case.scripted},
        **CLAUDE,
        "unknown_model": OptOut("It plays any model it is asked for, so that a demo answers every client."),
        "context_too_long": OptOut("It has no context window: a demo answers prompts of every length."),
    },
)

SUBJECTS = (ANTHROPIC, BEDROCK, VERTEX, OLLAMA, OPENAI, SIMULATED)
