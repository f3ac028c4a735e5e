"""Tools and tool choice, as the API judges them.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use
"""

from __future__ import annotations

import re
from typing import Any

from providers.simulated.models import SimulatedModel

from .refusal import invalid
from .strict_schema import check_format_schema

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_FIELDS = frozenset(
    {
        "name",
        "description",
        "input_schema",
        "type",
        "cache_control",
        "strict",
        "allowed_callers",
        "defer_loading",
        "eager_input_streaming",
        "input_examples",
    }
)


def check_tools(request: dict[str, Any]) -> None:
    """Raise the API's refusal of ``tools``; server tools (a ``type`` of their own) pass unread."""
    tools = request.get("tools", [])
    if not isinstance(tools, list):
        raise invalid("tools: Input should be a valid list")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise invalid(f"tools.{index}: Input should be a valid dictionary")
        if tool.get("type") in (None, "custom"):
            _check_custom_tool(tool, f"tools.{index}.custom")
        name = tool.get("name") or tool.get("type")
        if not isinstance(name, str):
            raise invalid(
                f"tools.{index}: Input tag found using 'type' does not match any of the expected tags"
            )
        if name in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(name)


def _check_custom_tool(tool: dict[str, Any], at: str) -> None:
    for field in tool:
        if field not in _TOOL_FIELDS:
            raise invalid(f"{at}.{field}: Extra inputs are not permitted")
    name = tool.get("name")
    if name is None:
        raise invalid(f"{at}.name: Field required")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise invalid(f"{at}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    if not isinstance(tool.get("description", ""), str):
        raise invalid(f"{at}.description: Input should be a valid string")
    schema = tool.get("input_schema")
    if schema is None:
        raise invalid(f"{at}.input_schema: Field required")
    if not isinstance(schema, dict):
        raise invalid(f"{at}.input_schema: Input should be a valid dictionary")
    if schema.get("type") is None:
        raise invalid(f"{at}.input_schema.type: Field required")
    if schema["type"] != "object":
        raise invalid(f"{at}.input_schema.type: Input should be 'object'")
    for keyword in ("oneOf", "allOf", "anyOf"):
        if keyword in schema:
            raise invalid(f"{at}.input_schema: {keyword} is not supported at the top level")
    if tool.get("strict"):
        check_format_schema(schema, f"{at}.input_schema")


def check_tool_choice(request: dict[str, Any], model: SimulatedModel) -> None:
    """Raise the API's refusal of ``tool_choice``; call after :func:`check_tools`."""
    choice = request.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in ("auto", "any", "tool", "none"):
        raise invalid("tool_choice: Input tag found using 'type' does not match any of the expected tags")
    allowed = {
        "none": {"type"},
        "tool": {"type", "name", "disable_parallel_tool_use"},
    }.get(kind, {"type", "disable_parallel_tool_use"})
    for name in choice:
        if name not in allowed:
            raise invalid(f"tool_choice.{kind}.{name}: Extra inputs are not permitted")
    tools = request.get("tools") or []
    if not tools:
        raise invalid("tool_choice: may only be specified while providing tools")
    if kind == "tool" and choice.get("name") not in [tool.get("name") for tool in tools]:
        raise invalid(f"Tool '{choice.get('name')}' not found in provided tools")
    if kind in ("any", "tool"):
        if model.forced_tools == "refused":
            raise invalid(f"tool_choice: '{kind}' is not supported by {model.id}; use 'auto' or 'none'")
        if (request.get("thinking") or {}).get("type") == "enabled":
            raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
