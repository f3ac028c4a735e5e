"""A clipped text keeps both its ends, says what it lost, and is never cut twice."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.policy.clip import FLOOR, clip

NOTICE = re.compile(r"\n\[gateway: ([\d,]+) characters left out here\]\n")

anything = (
    st.text(max_size=400) | st.text("ab\n\r", max_size=400) | st.text("e\u0301👍🏽\u200d🇩🇪", max_size=400)
)
limits = st.integers(-2, 300)


@given(anything, limits)
def test_the_result_is_bounded_and_exact_about_what_is_missing(text: str, limit: int) -> None:
    short = clip(text, limit)
    if limit <= 0 or len(text) <= max(limit, FLOOR):
        assert short is text
        return
    assert len(short) <= max(limit, FLOOR)
    notice = list(NOTICE.finditer(short))[-1] if len(NOTICE.findall(short)) == 1 else None
    assert notice is not None
    head, tail = short[: notice.start()], short[notice.end() :]
    assert head
    assert tail
    assert text.startswith(head)
    assert text.endswith(tail)
    assert int(notice[1].replace(",", "")) == len(text) - len(head) - len(tail)


@given(anything, limits)
def test_clipping_twice_is_clipping_once(text: str, limit: int) -> None:
    assert clip(clip(text, limit), limit) == clip(text, limit)


@given(st.text("x", min_size=2000, max_size=4000), st.integers(300, 1500))
def test_most_of_the_room_is_used_two_thirds_for_the_head(text: str, limit: int) -> None:
    head, tail = NOTICE.sub("|", clip(text, limit)).split("|")
    assert len(head) + len(tail) > limit - FLOOR
    assert 1.9 < len(head) / len(tail) < 2.1


def test_cuts_are_made_at_line_breaks() -> None:
    lines = [f"line {n}" for n in range(1000)]
    head, tail = NOTICE.sub("|", clip("\n".join(lines), 1000)).split("|")
    assert head.split("\n") == lines[: len(head.split("\n"))]
    assert tail.split("\n") == lines[-len(tail.split("\n")) :]


def test_windows_line_breaks_stay_whole() -> None:
    head, tail = NOTICE.sub("|", clip("some line\r\n" * 1000, 1000)).split("|")
    assert head.endswith("some line")
    assert tail.startswith("some line")


@pytest.mark.parametrize("sign", ["e\u0301\u0323", "👍🏽", "👩\u200d👩\u200d👧", "❤\ufe0f", "🇩🇪"])
def test_a_character_of_several_code_points_is_not_torn(sign: str) -> None:
    for limit in range(80, 120):
        short = clip(f"{sign}x" * 100, limit)
        head, tail = NOTICE.sub("|", short).split("|")
        assert re.fullmatch(f"(?:{sign}x)*(?:{sign})?", head)
        assert re.fullmatch(f"x?(?:{sign}x)*", tail)


def test_an_endless_joined_sequence_is_cut_all_the_same() -> None:
    assert len(clip("a" + "\u0301" * 1000, 100)) <= 100


def test_a_surrogate_is_never_made() -> None:
    short = clip("😀" * 500, 101)
    assert all(unicodedata.category(character) != "Cs" for character in short)
    short.encode()


def test_texts_that_the_notice_would_lengthen_are_left_alone() -> None:
    assert clip("x" * FLOOR, 1) == "x" * FLOOR
    assert len(clip("x" * (FLOOR + 1), 1)) <= FLOOR


def test_huge_texts_have_readable_numbers() -> None:
    assert "characters left out here" in clip("x" * 12_345_678, 100)
    assert re.search(r"12,345,6\d\d characters", clip("x" * 12_345_678, 100))
