"""What single parameters of OpenAI's API must be: each checker raises the API's refusal of a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .models import OpenAIModel
from .refusal import invalid, missing, unknown, wrong_type, wrong_value

Checker = Callable[[Any, str, OpenAIModel], None]


def text(value: Any, param: str, _: OpenAIModel) -> None:
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)


def flag(value: Any, param: str, _: OpenAIModel) -> None:
    if not isinstance(value, bool):
        raise wrong_type(param, "a boolean", value)


def mapping(value: Any, param: str, _: OpenAIModel) -> None:
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)


def integer(low: int, high: int | None = None) -> Checker:
    """A whole number from ``low`` to ``high``."""

    def check(value: Any, param: str, _: OpenAIModel) -> None:
        if type(value) is not int:
            raise wrong_type(param, "an integer", value)
        if value < low:
            what = f"integer below minimum value. Expected a value >= {low}, but got {value} instead."
            raise invalid(param, what, "integer_below_min_value")
        if high is not None and value > high:
            what = f"integer above maximum value. Expected a value <= {high}, but got {value} instead."
            raise invalid(param, what, "integer_above_max_value")

    return check


def number(low: float, high: float) -> Checker:
    """A number from ``low`` to ``high``."""

    def check(value: Any, param: str, _: OpenAIModel) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(param, "a decimal", value)
        if not low <= value <= high:
            bound = f"below minimum value. Expected a value >= {low:g}"
            if value > high:
                bound = f"above maximum value. Expected a value <= {high:g}"
            raise invalid(param, f"decimal {bound}, but got {value} instead.")

    return check


def one_of(*names: str) -> Checker:
    """One of some texts."""

    def check(value: Any, param: str, model: OpenAIModel) -> None:
        if value is None:
            raise missing(param)
        text(value, param, model)
        if value not in names:
            raise wrong_value(param, value, names)

    return check


def stop(value: Any, param: str, _: OpenAIModel) -> None:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise wrong_type(param, "a string or an array of strings", value)
    if not 1 <= len(given) <= 4:
        raise invalid(param, f"array too long. Expected an array with at most 4 items, but got {len(given)}.")


def stream_options(value: Any, param: str, model: OpenAIModel) -> None:
    mapping(value, param, model)
    for name, item in value.items():
        if name not in ("include_usage", "include_obfuscation"):
            raise unknown(f"{param}.{name}")
        flag(item, f"{param}.{name}", model)
