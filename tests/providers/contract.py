"""The contract of all providers: what a case is, what a subject is, and how one is held to the other.

The promises themselves are the docstrings of the cases, by theme: ``contract_answers`` (text, stream,
usage, stop reasons), ``contract_requests`` (what a caller may send), ``contract_tools``,
``contract_content`` (images, documents, schemas, thinking), ``contract_dialects`` (Messages, Responses,
counting, completions), ``contract_models`` (lists, embeddings),
``contract_faults`` (before the first byte and after it), ``contract_flow`` (cancelling, connections, bytes),
``contract_usage`` (of answers that break off).

Every case runs against every subject. A provider that cannot keep one opts out in writing, in its
subject; :func:`hold` checks the opt-out just as it checks the promise.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from providers.base import Feature, Provider, SpeaksCompletions, SpeaksEmbeddings, SpeaksMessages
from providers.errors import BadRequest
from providers.http import HttpClient, Timeouts

if TYPE_CHECKING:
    from .contract_stage import Stage

Run = Callable[["Stage"], Awaitable[None]]
#: Features that show in the provider's type: there is no request that a provider without them could refuse.
_BY_TYPE: dict[Feature, type] = {
    "embeddings": SpeaksEmbeddings,
    "messages": SpeaksMessages,
    "completions": SpeaksCompletions,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One promise. ``needs``: only providers that declare the feature make it. ``scripted``: the
    upstream must be told how to answer, so a provider without an upstream cannot run it."""

    name: str
    theme: str
    promise: str
    run: Run
    needs: Feature | None
    scripted: bool


CASES: dict[str, Case] = {}

#: In the order of the document.
THEMES = (
    "Answers",
    "Requests",
    "Tools",
    "Content",
    "Dialects",
    "Models and embeddings",
    "Faults before the first byte",
    "Faults after the first byte",
    "Flow",
    "Usage",
)


class Theme:
    """A group of cases. ``@theme`` or ``@theme(needs=…, scripted=…)`` makes a case of a function:
    its name is the case's, its docstring the promise."""

    def __init__(self, title: str, *, scripted: bool = False) -> None:
        assert title in THEMES
        self.title = title
        self._scripted = scripted

    def __call__(self, *, needs: Feature | None = None, scripted: bool = False) -> Callable[[Run], Run]:
        def register(run: Run) -> Run:
            self.add(run.__name__, inspect.getdoc(run) or "", run, needs=needs, scripted=scripted)
            return run

        return register

    def add(
        self, name: str, promise: str, run: Run, *, needs: Feature | None = None, scripted: bool = False
    ) -> None:
        """A case whose promise is one of many alike."""
        assert name not in CASES, f"two cases are called {name}"
        assert promise.endswith("."), f"{name}: a promise is a sentence"
        CASES[name] = Case(
            name, self.title, " ".join(promise.split()), run, needs, scripted or self._scripted
        )


@dataclass(frozen=True, slots=True)
class OptOut:
    """Why a case is not kept, in a full sentence, and what happens instead.

    ``param``: the request is refused with a 400 that names this parameter (or a place below it).
    ``dropped``: it is answered without this parameter, which the reply names. Neither: the provider
    has no place for the question at all.
    """

    reason: str
    param: str | None = None
    dropped: str | None = None


#: The gateway's key at the upstreams of the suite.
SECRET = "sk-contract-0123456789-SECRET"


@dataclass(frozen=True, slots=True)
class Models:
    """Upstream ids of the models that the cases are played on; what is not named is ``plain``."""

    plain: str
    thinking: str = ""
    images: str = ""
    #: A model that cannot see.
    blind: str = ""
    embedding: str = ""
    #: A model that completes texts.
    completing: str = ""
    #: A model and a number of characters of prompt that do not fit into its context window.
    small: str = ""
    overflow: int = 900_000


def _anthropic_usage(prompt: int, cached: int, output: int) -> dict[str, Any]:
    return {
        "input_tokens": prompt - cached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": output,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One adapter as the contract sees it.

    ``make`` builds the provider against the origin of the strict simulated upstream (an URL without a
    path), with ``secret`` as its key. ``path`` is where the adapter asks for chats there; None for
    a provider without an upstream, whose answers cannot be scripted. ``usage`` writes the scenario's
    ``usage`` for prompt tokens, those of them that came from a cache, and tokens of output.
    """

    name: str
    make: Callable[[HttpClient, str, Timeouts], Provider]
    path: str | None
    models: Models
    opt_outs: Mapping[str, OptOut] = field(default_factory=dict)
    usage: Callable[[int, int, int], Mapping[str, Any]] = _anthropic_usage
    #: Whether the upstream tells which tokens of a prompt came from its cache.
    counts_cached: bool = True
    #: Whether it tells the tokens of a prompt before it answers.
    tells_input: bool = True
    secret: str = SECRET
    #: Paths of the upstream's model list and of its embeddings, for faults there.
    models_path: str = "/v1/models"
    embeddings_path: str = "/v1/embeddings"


class NoUpstreamError(Exception):
    """A case wants to script an upstream, and this provider has none."""


class BrokenPromiseError(AssertionError):
    """The opt-outs of a subject do not say how things are."""


def check_declared(subject: Subject, features: frozenset[Feature]) -> None:
    """Raise ``BrokenPromiseError`` when the opt-outs of ``subject`` cannot be meant as they stand."""
    for name, opt_out in subject.opt_outs.items():
        case = CASES.get(name)
        if case is None:
            raise BrokenPromiseError(f"{subject.name} opts out of {name}, which is no case.")
        if not (opt_out.reason.endswith(".") and len(opt_out.reason.split()) > 4):
            raise BrokenPromiseError(f"{subject.name}, {name}: the reason is a full sentence.")
        if case.needs in features and not (case.scripted and subject.path is None):
            raise BrokenPromiseError(f"{subject.name} declares {case.needs} and opts out of {name}.")


async def hold(case: Case, stage: Stage) -> None:
    """Hold the provider on ``stage`` to ``case``, or to what its subject says instead.

    Raises ``AssertionError`` or whatever else the provider does not handle.
    """
    opt_out = stage.subject.opt_outs.get(case.name)
    if opt_out is None:
        if case.needs is not None and case.needs not in stage.provider.features:
            raise BrokenPromiseError(f"{case.name} needs {case.needs}: declare it, or opt out in writing.")
        await case.run(stage)
        return
    try:
        await case.run(stage)
    except (Exception, pytest.fail.Exception) as error:  # the latter: an error that did not come
        _check_instead(case, opt_out, stage, error)
    else:
        raise BrokenPromiseError(f"{stage.subject.name} keeps {case.name}: the opt-out is out of date.")


def _check_instead(case: Case, opt_out: OptOut, stage: Stage, error: BaseException) -> None:
    """A feature that is not there is refused clearly, or left out by name; never passed over."""
    if case.scripted and stage.subject.path is None:
        if not isinstance(error, NoUpstreamError):
            raise BrokenPromiseError(f"{case.name} never asks for a script.") from error
        return
    if opt_out.param is not None:
        if not isinstance(error, BadRequest) or not (error.param or "").startswith(opt_out.param):
            raise BrokenPromiseError(
                f"{case.name}: expected a 400 naming {opt_out.param}, got {error!r}."
            ) from error
        assert error.status == 400
    elif opt_out.dropped is not None:
        assert stage.replies, error
        for reply in stage.replies:
            assert opt_out.dropped in reply.dropped, f"{case.name}: {opt_out.dropped} is not named as dropped"
    elif case.needs in _BY_TYPE:
        assert not isinstance(stage.provider, _BY_TYPE[case.needs])
    elif case.needs is not None:
        raise BrokenPromiseError(f"{case.name}: say what is refused (param) or left out (dropped).")
