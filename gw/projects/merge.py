"""What a key may do, given its own terms and its project's: both hold, so a key never widens its project."""

from __future__ import annotations

from functools import cache, lru_cache

from middleware._state import Account, Policy, Principal

from .types import Key, Project, Rules

#: No model and no tool has this name: what is allowed where nothing is. (An empty list would be no rule.)
NOTHING = ("",)


def principal_of(key: Key, project: Project) -> Principal:
    """Who calls with ``key`` of ``project``, with every limit of both. Labels of the key go first."""
    return Principal(
        project.id,
        key.id,
        (project_account(project), key.account(f"key:{key.id}")),
        _or_none(merged(project.rules, key.rules)),
        tuple(sorted({**project.labels, **key.labels}.items())),
    )


def principal_of_project(project: Project, key_id: str) -> Principal:
    """Who calls with a key that has no terms of its own."""
    accounts = (project_account(project), Account(f"key:{key_id}"))
    labels = tuple(sorted(project.labels.items()))
    return Principal(project.id, key_id, accounts, _or_none(project.rules), labels)


def project_account(project: Project) -> Account:
    return project.account(f"project:{project.id}")


@lru_cache(maxsize=1024)
def merged(project: Rules, key: Rules) -> Policy:
    """What is allowed by both; the smaller bound; both texts before the system prompt, the project's first.
    Of the two defaults the key's is taken. A cache that one of them has switched off is off."""
    bounds = [bound for bound in (project.max_tokens, key.max_tokens) if bound is not None]
    texts = [text for text in (project.system_prefix, key.system_prefix) if text is not None]
    caches = {project.cache, key.cache}
    return Policy(
        models=_both_models(project.models, key.models),
        default_model=key.default_model or project.default_model,
        max_tokens=min(bounds, default=None),
        system_prefix="\n\n".join(texts) or None,
        allowed_tools=_both_tools(project.allowed_tools, key.allowed_tools),
        blocked_tools=tuple(dict.fromkeys(project.blocked_tools + key.blocked_tools)),
        cache=next((cache for cache in ("off", "shared") if cache in caches), "default"),
    )


def _or_none(policy: Policy) -> Policy | None:
    return None if policy == Policy() else policy


def _both_tools(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    if not a or not b:
        return a or b
    return tuple(name for name in b if name in a) or NOTHING


def _both_models(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    if not a or not b:
        return a or b
    found = [both for one in b for other in a for both in sorted(_meet(one, other))]
    return tuple(dict.fromkeys(found)) or NOTHING


def _meet(a: str, b: str) -> frozenset[str]:
    """Patterns (``*`` is any characters) for exactly those texts that match both ``a`` and ``b``."""

    @cache
    def meet(i: int, j: int) -> frozenset[str]:
        if i == len(a) or j == len(b):
            return frozenset() if (a[i:] + b[j:]).strip("*") else frozenset([""])
        one, other = a[i], b[j]
        if one == other == "*":
            return frozenset("*" + rest for rest in meet(i + 1, j) | meet(i, j + 1))
        if one == "*":  # ends here, or takes one more character
            return meet(i + 1, j) | {other + rest for rest in meet(i, j + 1)}
        if other == "*":
            return meet(i, j + 1) | {one + rest for rest in meet(i + 1, j)}
        return frozenset(one + rest for rest in meet(i + 1, j + 1)) if one == other else frozenset()

    return meet(0, 0)
