"""The `fields` parameter: what is wanted of a reply, as in `id,payload(headers(name,value),parts/body/size)`."""

from __future__ import annotations

import re
from typing import Any

from tests.emulator.parameters import BadParameter

_TOKEN = re.compile(r"[A-Za-z*]+|[(),/]")

Mask = dict[str, "Mask"]
"""Wanted names, each with what is wanted below it; nothing below is everything below."""


def parsed(text: str) -> Mask:
    """Return the meaning of the parameter; an empty one wants everything.

    Raises:
        BadParameter: It cannot be read.
    """
    if not text:
        return {}
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        raise BadParameter("fields", f"cannot read {text!r}")
    mask = _list(tokens)
    if tokens:
        raise BadParameter("fields", f"unexpected {tokens[0]!r}")
    return mask


def applied(mask: Mask, reply: Any) -> Any:
    """Return what of `reply` the mask wants.

    Raises:
        BadParameter: It wants something below a plain value.
    """
    if not mask:
        return reply
    if isinstance(reply, list):
        return [applied(mask, one) for one in reply]
    if not isinstance(reply, dict):
        raise BadParameter("fields", "there is nothing below a plain value")
    kept = {name: applied(mask.get(name, mask.get("*", {})), value) for name, value in reply.items() if _in(mask, name)}
    return {name: value for name, value in kept.items() if value not in ({}, [{}])}


def _in(mask: Mask, name: str) -> bool:
    return name in mask or "*" in mask


def _list(tokens: list[str]) -> Mask:
    mask: Mask = {}
    while True:
        name, below = _path(tokens)
        mask.setdefault(name, {}).update(below)
        if not tokens or tokens[0] != ",":
            return mask
        tokens.pop(0)


def _path(tokens: list[str]) -> tuple[str, Mask]:
    if not tokens or tokens[0] in "(),/":
        raise BadParameter("fields", "a name is missing")
    name = tokens.pop(0)
    if tokens and tokens[0] == "/":
        tokens.pop(0)
        below, rest = _path(tokens)
        return name, {below: rest}
    if tokens and tokens[0] == "(":
        tokens.pop(0)
        mask = _list(tokens)
        if not tokens or tokens.pop(0) != ")":
            raise BadParameter("fields", "')' is missing")
        return name, mask
    return name, {}
