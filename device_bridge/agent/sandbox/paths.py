"""Wire paths: `<root name>/<relative path>`, and "." for the list of the roots.

The choices that the cases of the sandbox leave open, and which are made here:

- Any `..` component is PATH_DENIED, also one that would stay inside: links make "inside" a matter of the moment.
- An absolute path, a drive, a UNC path and a URL are INVALID_ARGUMENT on every platform, before anything is opened: a
  root's name holds neither `:` nor a backslash, so the first component cannot need them.
- Further down, `:`, backslashes, device names and trailing dots are refused only on Windows; elsewhere they are names.
- An unknown root is PATH_DENIED, with the same sentence as everything else outside the roots.
- `.` components and empty ones are dropped, once; a trailing slash (or `/.`) asks for a folder. `%` and `~` are
  ordinary characters. Backslash escapes are those of `escapes`.
- The deny list is asked before the platform: `.env::$DATA` is denied, not malformed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from device_bridge.agent.sandbox.escapes import escape, to_text, unescape
from device_bridge.agent.sandbox.names import Platform, check_name, current_platform, is_denied
from device_bridge.agent.sandbox.refusals import denied, invalid, outside

MAX_PATH_BYTES = 1024
MAX_COMPONENTS = 64

_PLATFORM = current_platform()


@dataclass(frozen=True, slots=True)
class WirePath:
    """A parsed path. `str` of it is its one normalised spelling, which every result and every record uses."""

    root: str
    """The root's name; empty for the list of the roots."""
    names: tuple[bytes, ...] = ()
    """File names below the root, outermost first: never empty, `.`, `..`, or with a slash or NUL."""
    must_be_directory: bool = field(default=False, compare=False)
    """True when the path was written with a trailing slash."""

    def __str__(self) -> str:
        return "/".join([self.root, *map(escape, self.names)]) if self.root else "."

    def child(self, name: bytes) -> WirePath:
        """Return the path of `name` in this folder; `name` as the file system has it."""
        return WirePath(self.root, (*self.names, name))

    def is_writable(self) -> bool:
        """Return whether a caller can write this path within the limits of `parse`."""
        return 1 + len(self.names) <= MAX_COMPONENTS and len(str(self).encode()) <= MAX_PATH_BYTES

    def texts(self) -> list[str]:
        """Return the names below the root as text, for the deny list."""
        return [to_text(name) for name in self.names]


def parse(path: str, *, platform: Platform = _PLATFORM) -> WirePath:
    """Return what `path` names. Opens nothing.

    Raises:
        ToolError: INVALID_ARGUMENT for what can be no path, PATH_DENIED for one that climbs, DENIED_BY_POLICY for a
            name on the deny list.
    """
    components = [component for component in _components(path) if component not in {"", "."}]
    if ".." in components:
        raise outside()
    if not components:
        return WirePath("")
    root, *rest = components
    names = tuple(map(unescape, rest))
    if any(b"\0" in name for name in names):
        raise invalid("A path must not hold a NUL character.")
    texts = [to_text(name) for name in names]
    if is_denied(texts):
        raise denied()
    for text in [root, *texts]:
        check_name(text, platform)
    if ":" in root or "\\" in root:
        raise invalid("A path begins with the name of a shared folder, not with a drive or a scheme; list '.'.")
    return WirePath(root, names, must_be_directory=path.endswith(("/", "/.")))


def normalise(path: str) -> str:
    """Return the one spelling of `path` that results, records and policies compare; raises as `parse` does."""
    return str(parse(path))


def _components(path: str) -> list[str]:
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        raise invalid("A path must be valid Unicode.") from None
    if not path:
        raise invalid("A path must not be empty; '.' lists the shared folders.")
    if size > MAX_PATH_BYTES:
        raise invalid(f"A path has at most {MAX_PATH_BYTES} bytes.")
    if "\0" in path:
        raise invalid("A path must not hold a NUL character.")
    if path.startswith("/"):
        raise invalid("A path must not be absolute; it begins with the name of a shared folder.")
    components = path.split("/")
    if len(components) > MAX_COMPONENTS:
        raise invalid(f"A path has at most {MAX_COMPONENTS} components.")
    return components
