"""How much the process grew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Growth:
    """Resident bytes above those at the start of the context; known after it."""

    kept_bytes: int = 0
    """At its end."""
    peak_bytes: int = 0
    """At the highest point."""


@contextmanager
def memory_growth() -> Iterator[Growth]:
    """Measure how the resident memory grows while the context lasts."""
    # Writing 5 sets the mark of the highest point back to now.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    start, growth = _status("VmRSS"), Growth()
    yield growth
    growth.peak_bytes = max(0, _status("VmHWM") - start)
    growth.kept_bytes = max(0, _status("VmRSS") - start)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)
