"""The coding clients: each edits a scratch project, started as its users start it, without a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import install
from .client import Call, Client, Place, Shows


class ClaudeCode(Client):
    def command(self, place: Place, prompt: str) -> list[str]:
        program = str(place.folder / install.CLAUDE_CODE.program)
        return [program, "-p", prompt, "--model", place.model, "--permission-mode", "acceptEdits"]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "ANTHROPIC_BASE_URL": place.url,
            "ANTHROPIC_AUTH_TOKEN": place.key,
            "CLAUDE_CONFIG_DIR": str(place.home / "claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            # Eleven tries over three minutes are for people, not for tests.
            "CLAUDE_CODE_MAX_RETRIES": "1",
        }

    def reads(self, path: Path) -> Call:
        return Call("Read", {"file_path": str(path)})

    def writes(self, path: Path, old: str, new: str) -> Call:
        return Call("Edit", {"file_path": str(path), "old_string": old, "new_string": new})


class Codex(Client):
    def command(self, place: Place, prompt: str) -> list[str]:
        home = place.home / "codex"
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(f"""\
model = "{place.model}"
model_provider = "gateway"
check_for_update_on_startup = false

[model_providers.gateway]
name = "Gateway"
base_url = "{place.url}/v1"
env_key = "GATEWAY_API_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0

[features]
apps = false
plugins = false
remote_plugin = false

[analytics]
enabled = false

[otel]
metrics_exporter = "none"
""")
        program = str(place.folder / install.CODEX.program)
        # Its sandbox wants kernel features that a container may lack; the project is a scratch folder.
        return [
            program,
            "exec",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            prompt,
        ]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {"CODEX_HOME": str(place.home / "codex"), "GATEWAY_API_KEY": place.key}

    def reads(self, path: Path) -> Call:
        return Call("exec_command", {"cmd": f"cat {path.name}"})

    def writes(self, path: Path, old: str, new: str) -> Call:
        # Without a catalogue that knows the model, Codex patches through its shell.
        return Call("exec_command", {"cmd": f"apply_patch <<'EOF'\n{patch(path, old, new)}EOF\n"})


def patch(path: Path, old: str, new: str) -> str:
    return f"*** Begin Patch\n*** Update File: {path.name}\n@@\n-{old}\n+{new}\n*** End Patch\n"


@dataclass(frozen=True)
class OpenCode(Client):
    npm: str = "@ai-sdk/openai-compatible"

    def command(self, place: Place, prompt: str) -> list[str]:
        model = {"name": "Model", "reasoning": True, "limit": {"context": 200_000, "output": 32_000}}
        options = {"baseURL": f"{place.url}/v1", "apiKey": place.key}
        provider = {"npm": self.npm, "name": "Gateway", "options": options, "models": {place.model: model}}
        settings = {
            "autoupdate": False,
            "share": "disabled",
            "model": f"gateway/{place.model}",
            "small_model": f"gateway/{place.model}",
            "permission": {"*": "allow"},
            "provider": {"gateway": provider},
        }
        (place.home / "opencode.json").write_text(json.dumps(settings))
        return [str(place.folder / install.OPENCODE.program), "run", "--pure", prompt]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "OPENCODE_CONFIG": str(place.home / "opencode.json"),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "npm_config_offline": "true",
        }

    def reads(self, path: Path) -> Call:
        return Call("read", {"filePath": str(path)})

    def writes(self, path: Path, old: str, new: str) -> Call:
        return Call("edit", {"filePath": str(path), "oldString": old, "newString": new})


@dataclass(frozen=True)
class Cline(Client):
    provider: str = "openai-compatible"

    def command(self, place: Place, prompt: str) -> list[str]:
        settings = place.home / ".cline" / "data" / "settings" / "providers.json"
        settings.parent.mkdir(parents=True)
        own = {
            "provider": self.provider,
            "apiKey": place.key,
            "model": place.model,
            "baseUrl": f"{place.url}/v1",
        }
        entry = {"settings": own, "updatedAt": "2026-11-23T00:00:00.000Z", "tokenSource": "manual"}
        providers = {"version": 1, "lastUsedProvider": self.provider, "providers": {self.provider: entry}}
        settings.write_text(json.dumps(providers))
        switches = {"telemetryOptOut": True, "autoUpdateEnabled": False}
        (place.home / "cline.json").write_text(json.dumps(switches))
        return [str(place.folder / install.CLINE.program), "--auto-approve", "true", prompt]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "CLINE_DIR": str(place.home / ".cline"),
            "CLINE_GLOBAL_SETTINGS_PATH": str(place.home / "cline.json"),
            "CLINE_NO_AUTO_UPDATE": "1",
            # Without it a daemon outlives the run.
            "CLINE_SESSION_BACKEND_MODE": "local",
        }

    def reads(self, path: Path) -> Call:
        return Call("read_files", {"files": [{"path": str(path)}]})

    def writes(self, path: Path, old: str, new: str) -> Call:
        return Call("editor", {"path": str(path), "old_text": old, "new_text": new})


class Continue(Client):
    def command(self, place: Place, prompt: str) -> list[str]:
        settings = place.home / "config.yaml"
        settings.write_text(f"""\
name: Gateway
version: 1.0.0
schema: v1
models:
  - name: Gateway
    provider: openai
    model: {place.model}
    apiBase: {place.url}/v1
    apiKey: {place.key}
    capabilities: [tool_use]
    roles: [chat]
""")
        program = str(place.folder / install.CONTINUE.program)
        return [program, "--config", str(settings), "--auto", "-p", prompt]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "CONTINUE_GLOBAL_DIR": str(place.home / ".continue"),
            "CONTINUE_CLI_ENABLE_TELEMETRY": "0",
            "CONTINUE_METRICS_ENABLED": "0",
            "CONTINUE_TELEMETRY_ENABLED": "0",
        }

    def reads(self, path: Path) -> Call:
        return Call("Read", {"filepath": str(path)})

    def writes(self, path: Path, old: str, new: str) -> Call:
        return Call("Write", {"filepath": str(path), "content": f"{new}\n"})


class Aider(Client):
    def command(self, place: Place, prompt: str) -> list[str]:
        # A fresh list of prices in its cache, so that it fetches none.
        prices = place.home / ".aider" / "caches" / "model_prices_and_context_window.json"
        prices.parent.mkdir(parents=True)
        prices.write_text(json.dumps({"openai/gateway": {"max_input_tokens": 200_000}}))
        switches = (
            "--no-check-update --analytics-disable --no-show-release-notes --no-git --yes-always "
            "--no-show-model-warnings --no-pretty --no-fancy-input --no-detect-urls --edit-format diff"
        )
        program = str(place.folder / install.AIDER.program)
        model = f"openai/{place.model}"
        return [program, *switches.split(), "--model", model, "--message", prompt, "notes.txt"]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "OPENAI_API_BASE": f"{place.url}/v1",
            "OPENAI_API_KEY": place.key,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }

    def edit(self, path: Path, old: str, new: str) -> str:
        fence = "`" * 3
        return f"{path.name}\n{fence}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n{fence}\n"


CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"

#: Cline looks up feature flags, opted out of telemetry or not.
_FLAGS = frozenset({"data.cline.bot:443"})

CODING: tuple[Client, ...] = (
    ClaudeCode(
        "Claude Code",
        "@anthropic-ai/claude-code",
        install.CLAUDE_CODE,
        MESSAGES,
        Shows(thinking="replayed", cache="kept"),
    ),
    Codex("Codex", "@openai/codex", install.CODEX, RESPONSES, Shows(thinking="replayed")),
    OpenCode("opencode", "opencode-ai", install.OPENCODE, CHAT, Shows(cache="kept")),
    OpenCode(
        "opencode (Anthropic)",
        "opencode-ai",
        install.OPENCODE,
        MESSAGES,
        Shows(thinking="replayed", cache="kept"),
        npm="@ai-sdk/anthropic",
    ),
    Cline("Cline CLI", "cline", install.CLINE, CHAT, Shows(), _FLAGS),
    Cline(
        "Cline CLI (Anthropic)",
        "cline",
        install.CLINE,
        MESSAGES,
        Shows(thinking="dropped", cache="kept"),
        _FLAGS,
        provider="anthropic",
    ),
    Continue("Continue CLI", "@continuedev/cli", install.CONTINUE, CHAT, Shows()),
    Aider("aider", "aider-chat", install.AIDER, CHAT, Shows(tools="edits", thinking="shown")),
)
