"""The file sandbox: what the tools may see of the user's disk, and how.

`open_roots` opens the folders that the user shares, `Sandbox` answers questions about what is below them. The rest is
how: `paths` and `names` decide on text, `opening` and `access` open, `reading`, `listing` and `walking` read.
"""

from device_bridge.agent.sandbox.paths import normalise
from device_bridge.agent.sandbox.roots import Root, RootHealth, RootRefused, open_roots
from device_bridge.agent.sandbox.sandbox import Sandbox

__all__ = ["Root", "RootHealth", "RootRefused", "Sandbox", "normalise", "open_roots"]
