"""Mixed traffic against a running gateway: streams, whole answers, tools, lists, refusals, aborts.

    GATEWAY_API_KEY=… locust -f perf/locustfile.py --headless -u 20 -t 15s -H http://127.0.0.1:8080

Environment: ``GATEWAY_API_KEY`` (required), ``GATEWAY_URL`` (when ``-H`` is not given),
``LOCUST_MODEL`` (default ``claude-opus-4-6``). A task fails when the answer is not what it should be,
not merely when the status is 500; raise ``RATE_LIMIT_RPM`` on the gateway, or its 429s are failures too.
"""

from __future__ import annotations

import os
import random
from typing import Any

import orjson
from locust import HttpUser, between, task

KEY = os.environ.get("GATEWAY_API_KEY", "")
MODEL = os.environ.get("LOCUST_MODEL", "claude-opus-4-6")
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Wrong(Exception):
    """The answer is not what it should be."""


class Client(HttpUser):
    """Somebody who chats; about three requests a second."""

    host = os.environ.get("GATEWAY_URL", "http://127.0.0.1:8080")
    wait_time = between(0.1, 0.5)

    def on_start(self) -> None:
        self.client.headers["authorization"] = f"Bearer {KEY}"
        self.client.headers["content-type"] = "application/json"

    @task(6)
    def whole(self) -> None:
        answer = self._chat("whole", "Tell me of trees.")
        choice = answer["choices"][0]
        if not choice["message"]["content"] or choice["finish_reason"] != "stop":
            raise Wrong(str(choice)[:200])

    @task(6)
    def streamed(self) -> None:
        self._stream("stream", f"[sim tokens={random.randint(20, 200)} delay_ms=2] Go on.")

    @task(3)
    def tools(self) -> None:
        text = "use get_weather, please"
        answer = self._chat("tools 1", text, tools=[TOOL])
        message = answer["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        if [call["function"]["name"] for call in calls] != ["get_weather"]:
            raise Wrong(str(message)[:200])
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "sun"} for call in calls]
        turns = [{"role": "user", "content": text}, message, *results]
        answer = self._chat("tools 2", "", tools=[TOOL], messages=turns)
        if "sun" not in answer["choices"][0]["message"]["content"]:
            raise Wrong(str(answer)[:200])

    @task(2)
    def models(self) -> None:
        with self.client.get("/v1/models", catch_response=True, name="models") as response:
            listed = orjson.loads(response.content or b"{}").get("data") or []
            if not any(model["id"].startswith("claude-") for model in listed):
                response.failure(f"{response.status_code}: no Claude in {(response.content or b'')[:200]!r}")

    @task(2)
    def health(self) -> None:
        self.client.get("/live", name="live")

    @task(2)
    def refused(self) -> None:
        """Bad requests, and an upstream that is overloaded: each has its own status."""
        for body, status in (
            (b'{"model": ', 400),
            (orjson.dumps({"model": MODEL}), 400),
            (self._body("hello", n=2), 400),
            (self._body("[sim status=529] hello"), 503),
        ):
            with self.client.post(
                "/v1/chat/completions",
                data=body,
                catch_response=True,
                name=f"refused {status}",
            ) as response:
                if response.status_code == status and "error" in orjson.loads(response.content):
                    response.success()
                else:
                    response.failure(
                        f"{response.status_code} instead of {status}: {(response.content or b'')[:200]!r}"
                    )

    @task(1)
    def stranger(self) -> None:
        headers = {"authorization": "Bearer not-the-key"}
        with self.client.get("/v1/models", headers=headers, catch_response=True, name="stranger") as response:
            if response.status_code == 401:
                response.success()
            else:
                response.failure(f"{response.status_code} instead of 401")

    @task(2)
    def aborted(self) -> None:
        """Leave in the middle of a stream; the gateway has to notice by itself."""
        self._stream("abort", "[sim tokens=500 delay_ms=5] Go on.", leave_after=random.randint(1, 20))

    def _body(self, text: str, **more: Any) -> bytes:
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        return orjson.dumps({"model": MODEL, "max_tokens": 1000, "messages": turns, **more})

    def _chat(self, name: str, text: str, **more: Any) -> dict[str, Any]:
        with self.client.post(
            "/v1/chat/completions",
            data=self._body(text, **more),
            catch_response=True,
            name=name,
        ) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code}: {(response.content or b'')[:200]!r}")
                raise Wrong(f"{name}: {response.status_code}")
            answer: dict[str, Any] = orjson.loads(response.content)
        return answer

    def _stream(self, name: str, text: str, leave_after: int | None = None) -> None:
        """Read a stream to its ``[DONE]``, or close the connection after that many events."""
        with self.client.post(
            "/v1/chat/completions",
            data=self._body(text, stream=True),
            catch_response=True,
            stream=True,
            name=name,
        ) as response:
            events, last = 0, b""
            if response.status_code == 200:
                for line in response.iter_lines():
                    if line.startswith(b"data: "):
                        events, last = events + 1, line
                    if events == leave_after:
                        break
            complete = last == b"data: [DONE]" if leave_after is None else events == leave_after
            response.close()
            if complete:
                response.success()
            else:
                response.failure(f"{response.status_code}: {events} events, the last {last[:200]!r}")
