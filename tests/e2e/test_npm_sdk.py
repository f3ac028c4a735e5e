"""The official JavaScript SDK of OpenAI chats, streams and uses tools through a real Granian."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from .gateway import KEY, Gateway, clean_environment
from .upstream import Upstream

FOLDER = Path(__file__).parent / "npm"


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the locked SDK beside the script; a visible skip says why there is none."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed: the JavaScript SDK is not tested here")
    if not (FOLDER / "node_modules" / "openai").is_dir():
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"npm ci failed, the JavaScript SDK is not tested here: {done.stderr[-300:]}")
    return node


def test_the_javascript_sdk_chats_streams_and_uses_tools(
    node: str, gateway: Gateway, upstream: Upstream
) -> None:
    done = subprocess.run(
        [node, "chat.mjs"],
        cwd=FOLDER,
        env=clean_environment(GATEWAY_URL=gateway.base_url, GATEWAY_API_KEY=KEY),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "Hello from npm" in seen["plain"]
    assert seen["finish"] == "stop"
    assert "Hello again from npm" in seen["streamed"]
    assert seen["chunks"] > 3
    assert seen["usage"]["total_tokens"] > 0
    assert seen["tool_finish"] == "tool_calls"
    assert seen["tool"]["name"] == "get_weather"
    assert "city" in json.loads(seen["tool"]["arguments"])
    assert seen["final"]
    assert seen["refused"] == {"status": 404, "code": "model_not_found", "type": "NotFoundError"}
    assert "claude-sonnet-5-5" in seen["models"]
    assert all(chat["status"] == 200 for chat in upstream.chats)
