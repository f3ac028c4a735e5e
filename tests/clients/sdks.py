"""The SDKs and ``llm``: small programs below ``programs/``, with two tools that read and write files."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import install
from .client import Call, Client, Place, Shows
from .coding import CHAT, MESSAGES, RESPONSES

PROGRAMS = Path(__file__).parent / "programs"

_DIALECTS = {CHAT: "chat", RESPONSES: "responses", MESSAGES: "messages"}


@dataclass(frozen=True)
class Sdk(Client):
    """``program``: a file of ``programs/``."""

    program: str = ""

    def command(self, place: Place, prompt: str) -> list[str]:
        (place.home / "prompt").write_text(prompt)
        if self.program.endswith(".py"):
            python = str(place.folder / "bin" / "python") if self.package else sys.executable
            return [python, str(PROGRAMS / self.program)]
        # An ES module finds packages beside itself and above, nowhere else.
        for module in (self.program, "tools.mjs"):
            shutil.copy(PROGRAMS / module, place.folder)
        return ["node", str(place.folder / self.program)]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "GATEWAY_URL": place.url,
            "GATEWAY_API_KEY": place.key,
            "MODEL": place.model,
            "PROMPT": (place.home / "prompt").read_text(),
            "DIALECT": _DIALECTS[self.endpoint],
        }

    def reads(self, path: Path) -> Call:
        return Call("read_file", {"path": str(path)})

    def writes(self, path: Path, old: str, new: str) -> Call:
        return Call("write_file", {"path": str(path), "content": f"{new}\n"})


class Llm(Sdk):
    """The ``llm`` command with a model of its own configuration file, or of ``llm-anthropic``."""

    def command(self, place: Place, prompt: str) -> list[str]:
        home = place.home / "llm"
        home.mkdir()
        program = [
            str(place.folder / install.LLM.program),
            "--no-log",
            "--functions",
            str(PROGRAMS / self.program),
        ]
        if self.endpoint == MESSAGES:
            return [*program, "-m", f"anthropic/{place.model}", prompt]
        model = {
            "model_id": "gateway",
            "model_name": place.model,
            "api_base": f"{place.url}/v1",
            "api_key_name": "gateway",
            "supports_tools": True,
        }
        (home / "keys.json").write_text(json.dumps({"gateway": place.key}))
        (home / "extra-openai-models.yaml").write_text(json.dumps([model]))
        return [*program, "-m", "gateway", prompt]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "LLM_USER_PATH": str(place.home / "llm"),
            "ANTHROPIC_API_KEY": place.key,
            "ANTHROPIC_BASE_URL": place.url,
        }


_REPLAYED = Shows(thinking="replayed")
_MARKED = Shows(thinking="replayed", cache="kept")
_NODE, _LANGCHAIN, _LLM = install.NODE_SDKS, install.LANGCHAIN, install.LLM

SDKS: tuple[Client, ...] = (
    Sdk("openai (Python), chat", "openai", None, CHAT, Shows(), program="openai_chat.py"),
    Sdk("openai (Python), responses", "openai", None, RESPONSES, _REPLAYED, program="openai_responses.py"),
    Sdk("openai (npm), chat", "openai", _NODE, CHAT, Shows(), program="openai.mjs"),
    Sdk("openai (npm), responses", "openai", _NODE, RESPONSES, _REPLAYED, program="openai.mjs"),
    Sdk("anthropic (Python)", "anthropic", None, MESSAGES, _MARKED, program="anthropic_messages.py"),
    Sdk("anthropic (npm)", "@anthropic-ai/sdk", _NODE, MESSAGES, _MARKED, program="anthropic.mjs"),
    Sdk("LangChain, ChatOpenAI", "langchain-openai", _LANGCHAIN, CHAT, Shows(), program="langchain_agent.py"),
    Sdk(
        "LangChain, ChatOpenAI with responses",
        "langchain-openai",
        _LANGCHAIN,
        RESPONSES,
        _REPLAYED,
        program="langchain_agent.py",
    ),
    Sdk(
        "LangChain, ChatAnthropic",
        "langchain-anthropic",
        _LANGCHAIN,
        MESSAGES,
        _REPLAYED,
        program="langchain_agent.py",
    ),
    Sdk("AI SDK, openai-compatible", "@ai-sdk/openai-compatible", _NODE, CHAT, Shows(), program="ai.mjs"),
    Sdk("AI SDK, openai", "@ai-sdk/openai", _NODE, RESPONSES, _REPLAYED, program="ai.mjs"),
    Sdk("AI SDK, anthropic", "@ai-sdk/anthropic", _NODE, MESSAGES, _MARKED, program="ai.mjs"),
    Llm("llm", "llm", _LLM, CHAT, Shows(), program="llm_tools.py"),
    Llm("llm-anthropic", "llm-anthropic", _LLM, MESSAGES, _REPLAYED, program="llm_tools.py"),
)
