"""Which of a benchmark's languages, types and data sets a person means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from lusirag.errors import InvalidArgumentError

SEVERAL = "mul"  # ISO 639-2 for several languages: the tag of a score over many languages at once
_LINE = 1000  # characters; more than the tags of Belebele, less than the names of 122 data sets


def choose(wanted: Collection[str] | None, allowed: Sequence[str], *, what: str, owner: str) -> tuple[str, ...]:
    """Return those of `allowed` that are wanted, in their order; None means all.

    Raises:
        InvalidArgumentError: none is wanted, or one that is not allowed.
    """
    if wanted is None:
        return tuple(allowed)
    lower = {value.lower(): value for value in allowed}
    found = {name: (lower[name.lower()],) for name in wanted if name.lower() in lower}
    return _in_order(wanted, found, allowed, what=what, owner=owner)


def choose_languages(
    wanted: Collection[str] | None, codes: Mapping[str, Sequence[str]], allowed: Sequence[str], *, owner: str
) -> tuple[str, ...]:
    """Return those tags of `allowed` that are wanted, in their order; None means all.

    A wanted language is, as the first of these that finds something: a tag; a code by which mteb knows the language,
    with or without script; a code of ISO 639-3 that Unicode's CLDR holds for another name of a tag (`swh` of `sw`);
    the beginning of tags (RFC 4647, 3.3.1: `zh` of `zh-Hans`).

    Raises:
        InvalidArgumentError: none is wanted, or one that the benchmark does not have.
    """
    if wanted is None:
        return tuple(allowed)
    found = {name: tags for name in wanted if (tags := _tags(name.lower(), codes, allowed))}
    return _in_order(wanted, found, allowed, what="language", owner=owner)


def _tags(name: str, codes: Mapping[str, Sequence[str]], allowed: Sequence[str]) -> tuple[str, ...]:
    from babel.core import get_global

    single = [tag for tag in allowed if tag != SEVERAL]
    known = {tag: {code.lower() for code in codes[tag]} | {code.split("-")[0] for code in codes[tag]} for tag in single}
    other_name = str(get_global("language_aliases").get(name, name)).lower()
    ways = (
        [tag for tag in allowed if tag.lower() == name],
        [tag for tag in single if name in known[tag]],
        [tag for tag in single if tag.lower() == other_name],
        [tag for tag in single if tag.lower().startswith((f"{name}-", f"{other_name}-"))],
    )
    return next((tuple(way) for way in ways if way), ())


def _in_order(
    wanted: Collection[str], found: Mapping[str, Sequence[str]], allowed: Sequence[str], *, what: str, owner: str
) -> tuple[str, ...]:
    if not wanted:
        raise InvalidArgumentError(f"no {what} is chosen; leave the choice out for all of {owner}")
    if unknown := [name for name in wanted if name not in found]:
        raise InvalidArgumentError(f"{owner} has no {what} {', '.join(unknown)}{hint(unknown[0], allowed)}")
    chosen = {value for name in wanted for value in found[name]}
    return tuple(value for value in allowed if value in chosen)


def hint(name: str, allowed: Sequence[str]) -> str:
    """The end of an error's line: the nearest value, if one is near, and what is allowed (a part, if that is much)."""
    lower = {value.lower(): value for value in allowed}
    near = [lower[close] for close in get_close_matches(name.lower(), lower, n=1)]
    shown = ", ".join(allowed)
    if len(shown) > _LINE:
        shown = f"{len(allowed)} names, such as {', '.join(allowed[:5])}"
    return (f"; did you mean {near[0]}? Allowed: " if near else "; allowed: ") + shown
