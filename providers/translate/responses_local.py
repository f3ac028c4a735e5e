"""Tools of the Responses API that a client runs itself and that have no schema of their own (``shell``,
``local_shell``, ``apply_patch``): OpenAI's models know them, others are told of them as functions.

Shapes: ``function_shell_tool``, ``apply_patch_tool`` and their calls in ``openai.types.responses``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Json = dict[str, Any]

_INTEGER = {"type": "integer"}
_STRING = {"type": "string"}
_STRINGS = {"type": "array", "items": _STRING}


class LocalCall(NamedTuple):
    """A kind of call. ``tool`` is the ``type`` of the tool, ``field`` the member of the call that its
    arguments are in, ``action`` makes that of what a model has written."""

    tool: str
    field: str
    description: str
    parameters: Json
    action: Callable[[Json], Json]


def _object(required: list[str], **properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _strings(value: object) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def _limits(given: Json, *names: str) -> Json:
    return {name: given[name] for name in names if type(given.get(name)) is int}


def _texts(given: Json, *names: str) -> Json:
    return {name: given[name] for name in names if isinstance(given.get(name), str)}


def _shell(given: Json) -> Json:
    limits = _limits(given, "timeout_ms", "max_output_length")
    return {"commands": _strings(given.get("commands")), **limits}


def _local_shell(given: Json) -> Json:
    env = given.get("env")
    return {
        "type": "exec",
        "command": _strings(given.get("command")),
        "env": {k: v for k, v in env.items() if isinstance(v, str)} if isinstance(env, dict) else {},
        **_limits(given, "timeout_ms"),
        **_texts(given, "working_directory", "user"),
    }


def _patch(given: Json) -> Json:
    kind = given.get("type")
    known = kind if kind in ("create_file", "delete_file", "update_file") else "update_file"
    operation = {"type": known, "path": "", **_texts(given, "path")}
    return operation if known == "delete_file" else {**operation, "diff": "", **_texts(given, "diff")}


#: By the type of the call.
LOCAL_CALLS = {
    "shell_call": LocalCall(
        "shell",
        "action",
        "Runs shell commands on the user's machine, one after the other, and returns what each one printed "
        "and its exit code.",
        _object(["commands"], commands=_STRINGS, timeout_ms=_INTEGER, max_output_length=_INTEGER),
        _shell,
    ),
    "local_shell_call": LocalCall(
        "local_shell",
        "action",
        "Runs one command on the user's machine, without a shell around it: `command` is the program and its "
        "arguments.",
        _object(
            ["command"],
            command=_STRINGS,
            working_directory=_STRING,
            timeout_ms=_INTEGER,
            env={"type": "object", "additionalProperties": _STRING},
        ),
        _local_shell,
    ),
    "apply_patch_call": LocalCall(
        "apply_patch",
        "operation",
        "Creates, updates or deletes one file. `diff` is the body of a V4A diff: lines that begin with a "
        "space, `-` or `+`, in sections that begin with `@@`; for `create_file` every line begins with `+`. "
        "`delete_file` has none.",
        _object(
            ["type", "path"],
            type={"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            path=_STRING,
            diff=_STRING,
        ),
        _patch,
    ),
}
#: By the type of the tool: the type of its calls.
LOCAL_TOOLS = {local.tool: kind for kind, local in LOCAL_CALLS.items()}
