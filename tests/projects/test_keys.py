"""Keys: what is given out is well-formed, what is kept is a hash, and the pepper is one for all processes."""

from __future__ import annotations

import hmac
import os
import stat
import subprocess
import sys
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.projects.keys import PepperError, digest, is_ours, load_pepper, mint, parse
from tests.e2e.gateway import ROOT, clean_environment

PEPPER = b"a-pepper-of-the-tests-0123456789"
OTHER = b"another-pepper-of-the-tests-01234"


def test_a_key_is_read_back_as_it_was_made() -> None:
    made = mint(PEPPER)
    found = parse(made.token)
    assert found is not None
    assert found.id == made.id
    assert digest(PEPPER, found.secret) == made.digest


def test_what_is_kept_is_the_hmac_of_the_secret_and_tells_nothing_of_it() -> None:
    made = mint(PEPPER)
    found = parse(made.token)
    assert found is not None
    assert made.digest == hmac.new(PEPPER, found.secret.encode(), sha256).hexdigest()
    assert made.digest != digest(OTHER, found.secret)
    assert found.secret not in repr(made)
    assert found.secret not in repr(found)


def test_keys_that_differ_only_in_their_last_byte_have_other_hashes() -> None:
    secret = "0" * 64
    hashes = {digest(PEPPER, secret[:-1] + last) for last in "0123456789abcdef"}
    assert len(hashes) == 16


def test_ids_sort_by_the_second_in_which_they_were_made() -> None:
    ids = [mint(PEPPER, partial(float, at)).id for at in (0, 1, 31, 32, 1_800_000_000, 33_000_000_000)]
    assert ids == sorted(ids)
    assert len({mint(PEPPER, lambda: 5.0).id for _ in range(50)}) == 50


def test_an_id_is_known_as_ours_without_a_database() -> None:
    made = mint(PEPPER)
    assert is_ours(PEPPER, made.id)
    assert not is_ours(OTHER, made.id)
    for place in range(len(made.id)):
        other = "z" if made.id[place] != "z" else "y"
        assert not is_ours(PEPPER, made.id[:place] + other + made.id[place + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1],
        lambda key: key + "0",
        lambda key: key + "\n",
        lambda key: " " + key,
        lambda key: key.upper(),
        lambda key: key.replace("gw_", "gw-", 1),
        lambda key: "xw" + key[2:],
        lambda key: key[:3] + "_" + key[4:],
        lambda key: key[:-1] + "g",
        lambda key: key[:-1] + "\0",
        lambda key: key[:-1] + "٣",  # a digit, but not one of ours
        lambda key: key[:10] + "l" + key[11:],
    ],
)
def test_a_text_that_is_not_exactly_a_key_is_none(change: object) -> None:
    assert callable(change)
    assert parse(change(mint(PEPPER).token)) is None


@given(st.text())
def test_any_other_text_is_no_key_and_no_error(text: str) -> None:
    assert parse(text) is None
    assert parse(f"gw_{text}_{'0' * 64}") is None or len(text) == 18


def test_a_configured_pepper_needs_no_file() -> None:
    assert load_pepper("chosen-by-the-operator", lambda: pytest.fail("asked for a directory")) == (
        b"chosen-by-the-operator"
    )


def test_the_pepper_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = load_pepper(None, lambda: tmp_path)
    assert len(first) == 64
    assert load_pepper(None, lambda: tmp_path) == first
    (file,) = tmp_path.iterdir()  # and nothing is left lying about
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_processes_that_start_at_once_agree_on_one_pepper(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from gw.projects.keys import load_pepper\n"
        "sys.stdin.read()\n"  # all are let go at the same moment
        "print(load_pepper(None, lambda: pathlib.Path(sys.argv[1])).decode())"
    )
    read, write = os.pipe()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            cwd=ROOT,
            env=clean_environment(),
            stdin=read,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    os.close(read)
    os.close(write)
    found = {process.communicate(timeout=60)[0] for process in processes}
    assert len(found) == 1
    assert len(found.pop().strip()) == 64
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"abc\n", b"0" * 65, b"\xff" * 64])
def test_a_damaged_pepper_is_an_error_and_is_not_written_over(tmp_path: Path, content: bytes) -> None:
    load_pepper(None, lambda: tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    with pytest.raises(PepperError, match="key-pepper"):
        load_pepper(None, lambda: tmp_path)
    assert file.read_bytes() == content


def test_where_no_pepper_can_be_made_the_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(PepperError, match="KEY_PEPPER"):
        load_pepper(None, lambda: tmp_path / "is-not-there")
