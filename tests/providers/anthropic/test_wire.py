"""Another model in a request: nothing else of its bytes changes."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.anthropic.wire import with_model

NEW = "claude-sonnet-5-5"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":<sonnet>,"a":1.0}',
        b'{ "a" : 1E2,\n"model"\t: <sonnet> }',
        b'{"model":<son\\u006eet>,"b":"\\u00e9"}',
        b'{"n":123456789012345678901234567890,"model":<x>}',
        b'{"x":1,"x":2,"model":<sonnet>}',
        # Others called `model` are not the request's own.
        b'{"in":{"model":"sonnet"},"model":<sonnet>}',
        b'{"model":<sonnet>,"in":[{"model":"sonnet"}]}',
        b'{"t":"\\"model\\":\\"sonnet\\"","model":<sonnet>}',
        b'{"a\\"model":"sonnet","model":<sonnet>}',
        # Of two the last one counts.
        b'{"model":"a","model":<sonnet>}',
    ],
)
def test_only_the_models_name_is_changed(body: bytes) -> None:
    """``<…>`` is what changes."""
    before = body.replace(b"<", b'"').replace(b">", b'"')
    after = re.sub(rb"<.*>", b'"claude-sonnet-5-5"', body)
    assert with_model(before, orjson.loads(before), NEW) == after


@pytest.mark.parametrize(
    "body",
    [
        b'{"mod\\u0065l":"sonnet"}',
        b'{"model":null}',
        b"{}",
        b'{"in":[' + b'{"model":"sonnet"},' * 20 + b'1],"model":"sonnet"}',
    ],
)
def test_a_name_that_is_not_found_is_set_all_the_same(body: bytes) -> None:
    value = orjson.loads(body)
    assert orjson.loads(with_model(body, value, NEW)) == {**value, "model": NEW}


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.sampled_from(["model", '"model":"x"']),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["model", "a", '"model"']) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    value=st.dictionaries(st.text(max_size=3), JSON, max_size=4),
    model=st.text(),
    new=st.text(),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
def test_whatever_stands_around_it(
    value: dict[str, Any], model: str, new: str, indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps({**value, "model": model}, indent=indent, ensure_ascii=ascii_only).encode()
    parsed = orjson.loads(body)
    found = with_model(body, parsed, new)
    assert orjson.loads(found) == {**parsed, "model": new}
    name = json.dumps(model, ensure_ascii=ascii_only).encode()
    if body.count(b'"model"') == 1:
        head, _, tail = body.rpartition(name)
        assert found == head + orjson.dumps(new) + tail
