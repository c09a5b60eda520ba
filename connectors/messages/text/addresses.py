"""Who wrote a mail, and to whom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from connectors.messages.domain import Participant
from connectors.messages.text.headers import decode_words

MAX_ADDRESSES = 200
"""Addresses taken from one header."""

_MAX_ADDRESS_CHARS = 320
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"'@]{1,256}@[^\s<>(),;:\"'@]{1,256}")
# An encoded word, a quoted string, a comment, an address in brackets, a separator, other text.
_PIECE = re.compile(
    r"=\?[^?\s]{1,60}\?[bBqQ]\?[^?]{0,1000}\?="
    r'|"(?:[^"\\]|\\.){0,500}"|\((?:[^()\\]|\\.){0,500}\)|<[^<>]{0,500}>|[,;:]|[^"(<,;:=]+|.',
    re.DOTALL,
)


def participants(value: str) -> tuple[Participant, ...]:
    """Return the people of a From, To or Cc header (RFC 5322, 3.4), at most MAX_ADDRESSES; never raises.

    What is no address is left out, unless it is all there is: then it is a name without an address. An address in
    brackets is the one that counts: what stands before it is a name even if it looks like another address.
    """
    found = tuple(islice(_people(value), MAX_ADDRESSES))
    if found:
        return found
    alone = decode_words(value)
    is_group = alone.rstrip("; ").endswith(":")
    return () if not alone or is_group else (Participant(name=alone[:_MAX_ADDRESS_CHARS]),)


def _people(value: str) -> Iterator[Participant]:
    words: list[str] = []
    for piece in (*_PIECE.findall(value), ","):
        if piece in {",", ";"}:
            person = _person(words)
            if person is not None:
                yield person
            words = []
        elif piece == ":":
            # Before a colon stands the name of a group, which is no person.
            words = []
        else:
            words.append(piece)


def _person(words: list[str]) -> Participant | None:
    bracketed = [word for word in words if word.startswith("<") and _ADDRESS.search(word)]
    place = bracketed[-1] if bracketed else "".join(word for word in words if not word.startswith(("(", '"')))
    address = _ADDRESS.search(decode_words(place))
    if address is None:
        address = _ADDRESS.search("".join(words))
    if address is None:
        return None
    kept = [word for word in words if word != place] if bracketed else [word for word in words if word[0] in '("']
    name = decode_words("".join(map(_unquoted, kept))).strip("<>'\" ")
    # Some programs write the address as the name too.
    return Participant(address=address[0][:_MAX_ADDRESS_CHARS], name="" if name.lower() == address[0].lower() else name)


def _unquoted(word: str) -> str:
    if len(word) > 1 and word[0] + word[-1] in {'""', "()"}:
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    return word
