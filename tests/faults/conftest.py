"""Where the fault tests keep their stacks."""

from __future__ import annotations

from tests.system.conftest import scratch

__all__ = ["scratch"]
