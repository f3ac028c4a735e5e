"""Turns of a Messages request as chat messages."""

from __future__ import annotations

from typing import Any

import pytest

from .test_messages_chat import HI, chat, refused

PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
IMAGE = {"type": "image", "source": PNG}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
MARK = {"type": "ephemeral"}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def use(call_id: str = "toolu_1", name: str = "read", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def result(content: Any = None, call_id: str = "toolu_1", **more: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": call_id, **more}
    return block if content is None else {**block, "content": content}


def called(call_id: str = "toolu_1", name: str = "read", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def messages(*turns: dict[str, Any]) -> list[dict[str, Any]]:
    found = chat(messages=list(turns))
    assert found.dropped == ()
    written: list[dict[str, Any]] = found.body["messages"]
    return written


def returned(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    """What becomes of a user's turn behind a call."""
    return messages(*HI, assistant(use()), user(*blocks))[2:]


def test_one_text_is_a_string_and_several_are_parts() -> None:
    assert messages(user(text("hi"))) == HI
    assert messages(user(text("a"), text(""), text("b")))[0]["content"] == [text("a"), text("b")]
    assert messages(user(text("a", cache_control=MARK)))[0]["content"] == [text("a", cache_control=MARK)]


def test_a_turn_that_says_nothing_is_an_empty_one() -> None:
    assert messages(user()) == messages(user(text(""))) == [{"role": "user", "content": ""}]


def test_images_are_parts_of_what_a_user_says() -> None:
    linked = {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}}
    assert messages(user(text("Look:"), IMAGE, linked))[0]["content"] == [
        text("Look:"),
        IMAGE_PART,
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
    ]


def test_a_pdf_is_a_file() -> None:
    block = {"type": "document", "source": PDF, "title": "Plan.pdf", "citations": {"enabled": True}}
    file = {"filename": "Plan.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
    assert messages(user(block))[0]["content"] == [{"type": "file", "file": file}]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Words."}},
            "Words.",
        ),
        (
            {"type": "document", "title": "T", "context": "C", "source": {"type": "text", "data": "Words."}},
            "T\nC\nWords.",
        ),
        ({"type": "document", "title": "T", "source": {"type": "content", "content": "Words."}}, "T\nWords."),
        (
            {
                "type": "search_result",
                "source": "https://a.b",
                "title": "T",
                "content": [text("x"), text("y")],
            },
            "T\nhttps://a.b\nx\ny",
        ),
    ],
)
def test_documents_of_words_and_search_results_are_texts(block: dict[str, Any], said: str) -> None:
    assert messages(user(block))[0]["content"] == said
    assert returned(result([block]))[0]["content"] == said


def test_a_document_may_consist_of_texts_and_images() -> None:
    source = {"type": "content", "content": [text("a"), IMAGE]}
    assert messages(user({"type": "document", "source": source}))[0]["content"] == [text("a"), IMAGE_PART]


@pytest.mark.parametrize("content", [None, "", [], [text("")]])
def test_a_tool_that_returned_nothing_has_an_empty_result(content: Any) -> None:
    assert returned(result(content)) == [{"role": "tool", "tool_call_id": "toolu_1", "content": ""}]


def test_results_are_messages_of_tools_before_what_the_user_says() -> None:
    assert messages(
        *HI,
        assistant(use("a"), use("b")),
        user(text("Go on."), result("1", "a")),
        user(result([text("2"), text("3")], "b"), text("Please.")),
    )[2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": [text("2"), text("3")]},
        {"role": "user", "content": "Go on."},
        {"role": "user", "content": "Please."},
    ]


def test_what_a_tool_has_shown_follows_in_a_message_of_a_user() -> None:
    document = {"type": "document", "source": PDF}
    tool, after = returned(result([text("Seen:"), IMAGE, document]), text("And?"))
    assert tool["content"] == "Seen:\n(What the tool returned here is in the next message.)"
    assert after["role"] == "user"
    assert [part["type"] for part in after["content"]] == ["text", "image_url", "file", "text"]
    assert after["content"][0]["text"] == "Returned by the tool call toolu_1:"
    assert returned(result([IMAGE]))[0]["content"] == "(What the tool returned here is in the next message.)"


@pytest.mark.parametrize("own", [IMAGE, {"type": "document", "source": PDF}])
def test_what_a_tool_has_shown_is_told_apart_from_what_the_user_shows(own: Any) -> None:
    _, after = returned(result([IMAGE]), own)
    kinds = [part["type"] for part in after["content"]]
    assert kinds == ["text", "image_url", "text", "file" if own is not IMAGE else "image_url"]
    assert after["content"][2] == text("(What follows is from the user.)")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("No such file", "Error: No such file"),
        ("<tool_use_error>No such file</tool_use_error>", "<tool_use_error>No such file</tool_use_error>"),
        ("ERROR: it broke", "ERROR: it broke"),
        (None, "Error: the tool failed and returned nothing."),
        ([text("a"), text("b")], [text("Error: a"), text("b")]),
        ([text("a", cache_control=MARK)], [text("Error: a", cache_control=MARK)]),
    ],
)
def test_that_a_tool_has_failed_is_said(content: Any, said: Any) -> None:
    assert returned(result(content, is_error=True))[0]["content"] == said
    assert returned(result("fine", is_error=False))[0]["content"] == "fine"


def test_cache_markers_stay_where_they_are() -> None:
    marked = messages(
        *HI,
        assistant(text("ok", cache_control=MARK), {**use(), "cache_control": MARK}),
        user(result("1", cache_control=MARK), {**IMAGE, "cache_control": MARK}),
    )
    assert marked[1]["content"] == [text("ok", cache_control=MARK)]
    assert marked[1]["tool_calls"] == [{**called(), "cache_control": MARK}]
    assert marked[2]["content"] == [text("1", cache_control=MARK)]
    assert marked[3]["content"] == [{**IMAGE_PART, "cache_control": MARK}]


def test_an_answer_is_its_text_its_thinking_and_its_calls() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    written = messages(
        *HI,
        assistant(
            thought, text("I look."), use("toolu_1", path="ä.py"), {**thought, "thinking": "So."}, use("b.2")
        ),
        user(result("x"), result("y", "b.2")),
    )[1]
    assert written == {
        "role": "assistant",
        "content": "I look.",
        "reasoning_content": "Hm.\nSo.",
        "tool_calls": [called(arguments='{"path":"ä.py"}'), called("b.2")],
    }


def test_a_call_without_words_has_no_content() -> None:
    assert messages(*HI, assistant(use()))[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [called()],
    }


def test_a_text_that_citations_have_divided_is_one_text_and_others_are_lines() -> None:
    cited = text("is green", citations=[{"type": "char_location"}])
    answer = assistant(text("The grass "), cited, text("."), use(), text("Done."))
    assert messages(*HI, answer)[1]["content"] == "The grass is green.\nDone."


def test_thinking_that_only_claude_can_read_is_left_out() -> None:
    secret = {"type": "redacted_thinking", "data": "xyz"}
    empty = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    assert messages(*HI, assistant(secret, empty, text("ok")))[1] == {"role": "assistant", "content": "ok"}
    assert messages(*HI, assistant(secret), *HI) == [*HI, *HI]


def test_the_beginning_of_an_answer_passes_as_it_is() -> None:
    prefill = {"role": "assistant", "content": "The answer is ("}
    assert messages(*HI, prefill) == [*HI, prefill]


def test_a_system_message_keeps_its_place_behind_the_results() -> None:
    note = {"role": "system", "content": "Be quick."}
    assert messages(*HI, assistant(use()), note, user(result("1")), note)[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "1"},
        note,
        note,
    ]


def test_a_summary_of_what_was_said_before_is_kept() -> None:
    summary = {"type": "compaction", "content": "They greeted.", "signature": "c2ln"}
    assert messages(*HI, assistant(summary), *HI)[1]["content"] == "They greeted."
    assert messages(*HI, assistant({**summary, "content": None}, text("ok")))[1]["content"] == "ok"


def test_what_ran_at_anthropic_is_left_out_and_named() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    hits = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    found = chat(messages=[*HI, assistant(text("I look."), search, hits, text("Found.")), *HI])
    assert found.body["messages"][1] == {"role": "assistant", "content": "I look.\nFound."}
    assert found.dropped == ("messages",)


UPLOADED = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
LINKED = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}


@pytest.mark.parametrize("block", [UPLOADED, LINKED, {"type": "container_upload", "file_id": "f"}])
def test_what_cannot_be_passed_on_is_refused_until_it_was_answered(block: dict[str, Any]) -> None:
    refused(
        "messages.0.content.1.source" if "source" in block else "messages.0.content.1.type",
        messages=[user(text("Look:"), block)],
    )
    found = chat(messages=[user(text("Look:"), block), assistant(text("Nice.")), *HI])
    assert found.dropped == ("messages",)
    assert "cannot be passed on" in found.body["messages"][0]["content"][1]["text"]


def test_what_a_tool_has_returned_is_never_refused() -> None:
    for block in (UPLOADED, LINKED, {"type": "browser_state", "tabs": []}, {"type": "tool_reference"}):
        found = chat(messages=[*HI, assistant(use()), user(result([text("ok"), block]))])
        assert found.dropped == ("messages",)
        assert found.body["messages"][-1]["role"] == "tool"


@pytest.mark.parametrize(
    ("place", "turn"),
    [
        ("content.0.tool_use_id", user({"type": "tool_result", "content": "x"})),
        ("content.0.content", user(result(5))),
        ("content.0.content.0.text", user(result([{"type": "text"}]))),
        ("content.0.is_error", user(result("x", is_error="yes"))),
        ("content.0.source", user({"type": "image"})),
        ("content.0.source", user({"type": "image", "source": {**PNG, "media_type": "image/tiff"}})),
        ("content.0.source.url", user({"type": "image", "source": {"type": "url", "url": "http://a.b"}})),
        ("content.0.source.data", user({"type": "document", "source": {"type": "text"}})),
        ("content.0.content", user({"type": "search_result"})),
        ("content.0.cache_control.type", user(text("x", cache_control={"type": "forever"}))),
        ("content.0.id", assistant({"type": "tool_use", "name": "a", "input": {}})),
        ("content.0.name", assistant({"type": "tool_use", "id": "a", "input": {}})),
        ("content.0.input", assistant({"type": "tool_use", "id": "a", "name": "a", "input": "{}"})),
        ("content.0.thinking", assistant({"type": "thinking", "signature": "x"})),
    ],
)
def test_what_is_wrong_with_a_turn_is_named_by_its_place(place: str, turn: dict[str, Any]) -> None:
    refused(f"messages.1.{place}", messages=[*HI, turn])


def test_an_effort_for_one_turn_counts_for_that_turn() -> None:
    effort = {"role": "system", "output_config": {"effort": "max"}}
    note = {"role": "system", "content": "Think.", "output_config": {"effort": "low"}}
    config = {"effort": "medium"}
    assert chat(messages=[*HI, effort], output_config=config).body["reasoning_effort"] == "max"
    assert chat(messages=[*HI, effort], output_config=config).body["messages"] == HI
    assert chat(messages=[*HI, effort, note]).body["reasoning_effort"] == "low"
    talk = [*HI, effort, assistant(text("ok")), *HI]
    assert chat(messages=talk, output_config=config).body["reasoning_effort"] == "medium"
    refused("messages.1.content", messages=[*HI, {"role": "system"}])
    refused("messages.1.output_config", messages=[*HI, {"role": "system", "output_config": "low"}])


def test_a_note_for_one_turn_is_gone_in_the_next() -> None:
    note = {"role": "system", "content": "3 tokens left.", "clear_at": "next_user_message"}
    stays = {"role": "system", "content": "Be kind.", "clear_at": "never"}
    kept = {"role": "system", "content": "Be kind."}
    shown = {"role": "system", "content": "3 tokens left."}
    answer = {"role": "assistant", "content": "ok"}
    assert messages(*HI, note, stays) == [*HI, shown, kept]
    assert messages(*HI, note, stays, answer) == [*HI, shown, kept, answer]
    assert messages(*HI, note, stays, answer, *HI) == [*HI, kept, answer, *HI]


def test_a_tool_that_was_withdrawn_stays_declared_and_the_model_is_told() -> None:
    removal = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "read"}}
    found = chat(
        messages=[*HI, {"role": "system", "content": [removal]}],
        tools=[{"name": "read", "input_schema": {"type": "object"}}],
    )
    assert found.body["messages"][1]["content"] == "The tool read cannot be called any more."
    assert len(found.body["tools"]) == 1
