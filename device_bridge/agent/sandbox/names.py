"""Which names are refused, whatever they lead to: the deny list, and what each platform makes of a name.

Pure text, no file system. The deny list is compared after the foldings that some file system applies on its own
(composition, case, ignorable characters, trailing dots and spaces, streams, 8.3 names), on every platform: what one of
them would open as `.env` is denied on all of them.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from enum import Enum, auto, unique
from fnmatch import translate
from functools import lru_cache
from itertools import pairwise

from device_bridge.agent.sandbox.escapes import IGNORABLE
from device_bridge.agent.sandbox.refusals import invalid, outside

DENIED_NAMES = (
    ".env*",
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    "id_rsa*",
    "id_ed25519*",
    "id_ecdsa*",
    "id_dsa*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.kdbx",
    "*.keychain*",
    "cookies",
    "cookies.sqlite",
    "login data*",
    "key4.db",
    "logins.json",
    ".*_history",
    "fish_history",
    ".history",
    ".lesshst",
)
"""Patterns for one name anywhere in a path, folded: a denied folder denies all that is in it."""

ALLOWED_NAMES = frozenset({".env.example"})
"""Exceptions from DENIED_NAMES, folded."""

DENIED_SEQUENCES = ((".config", "gcloud"), (".docker", "config.json"), (".git", "config"))
"""Names that are denied only together, one in the other, folded."""

_DENIED = re.compile("|".join(map(translate, DENIED_NAMES)))

# The 8.3 names that Windows gives to names of the two lists above.
_SHORT_NAME = re.compile(r"([^~.]{1,6})~[0-9]{1,6}(?:\.[^.]{0,3})?")
_LONG_NAMES = {
    "env": ".env",
    "ssh": ".ssh",
    "gnupg": ".gnupg",
    "aws": ".aws",
    "azure": ".azure",
    "kube": ".kube",
    "netrc": ".netrc",
    "npmrc": ".npmrc",
    "pypirc": ".pypirc",
    "git": ".git",
    "git-cr": ".git-credentials",
    "config": ".config",
    "docker": ".docker",
    "gcloud": "gcloud",
    "id_rsa": "id_rsa",
    "id_ed2": "id_ed25519",
    "id_ecd": "id_ecdsa",
    "logind": "login data",
    "envrc": ".envrc",
    "bash_h": ".bash_history",
    "zsh_hi": ".zsh_history",
}


@unique
class Platform(Enum):
    """Whose reading of a name counts."""

    POSIX = auto()
    """Linux: every name without a slash or NUL is an ordinary one, `C:` and `CON` included. A user's file
    `Call 12:30.md` or `con.md` must stay readable there, so the rules of Windows bind only on Windows."""
    MACOS = auto()
    """As POSIX, but `..namedfork` leads into a file's resource fork."""
    WINDOWS = auto()
    """Streams, drives, devices, backslashes and dropped trailing dots are refused before any call is made."""


def current_platform() -> Platform:
    """Return the platform this process runs on."""
    if sys.platform == "win32":
        return Platform.WINDOWS
    return Platform.MACOS if sys.platform == "darwin" else Platform.POSIX


@lru_cache(maxsize=16384)
def fold(name: str) -> str:
    """Return `name` as the most forgiving file system would compare it."""
    name = IGNORABLE.sub("", name)
    # A stream ends the name: `.env::$DATA` is `.env`.
    name = name.split(":", 1)[0] or name
    name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return name.rstrip(" .") or name


def is_denied(names: Sequence[str]) -> bool:
    """Return whether a path of these names, outermost first, ends at or passes through a denied name."""
    folded = [_long(fold(name)) for name in names]
    if any(_matches(name) for name in folded):
        return True
    return not set(pairwise(folded)).isdisjoint(DENIED_SEQUENCES)


def check_name(name: str, platform: Platform) -> None:
    """Refuse a name that `platform` would read as more than a name.

    Raises:
        ToolError: INVALID_ARGUMENT, or PATH_DENIED when it climbs.
    """
    if platform is Platform.WINDOWS:
        _check_windows_name(name)
    if platform is Platform.MACOS and fold(name).startswith("..namedfork"):
        raise invalid("A path must not lead into a resource fork.")


_WINDOWS_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"|?*\\]')
_WINDOWS_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])")


def _check_windows_name(name: str) -> None:
    if ".." in name.split("\\"):
        raise outside()
    if _WINDOWS_FORBIDDEN.search(name) or name != name.rstrip(" ."):
        raise invalid("A name in this path is not possible on Windows.")
    if _WINDOWS_DEVICE.fullmatch(name.split(".", 1)[0].rstrip(" ").casefold()):
        raise invalid("A name in this path is a device name of Windows.")


@lru_cache(maxsize=16384)
def _matches(name: str) -> bool:
    return name not in ALLOWED_NAMES and _DENIED.fullmatch(name) is not None


def _long(name: str) -> str:
    match = _SHORT_NAME.fullmatch(name)
    return _LONG_NAMES.get(match[1], name) if match else name
