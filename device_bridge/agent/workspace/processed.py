"""Which files each agent has processed, and in which state they then were."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from device_bridge.agent.domain import JsonObject

_UPSERT = """
    INSERT INTO processed_files (agent_key, path, size_bytes, mtime_ns, run_id)
    VALUES (:agent_key, :path, :size_bytes, :mtime_ns, :run_id)
    ON CONFLICT (agent_key, path) DO UPDATE
    SET size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns, run_id = excluded.run_id
"""
_BELOW = """
    SELECT path, size_bytes, mtime_ns FROM processed_files
    WHERE agent_key = :agent_key
      AND (:folder = '.' OR path = :folder OR (path >= :folder || '/' AND path < :folder || '0'))
"""


def mark(connection: sqlite3.Connection, *, agent_key: str, run_id: str, files: Sequence[JsonObject]) -> None:
    """Remember the state in which files ({path, size_bytes, mtime_ns}, paths in normal form) were processed."""
    connection.executemany(_UPSERT, [{**file, "agent_key": agent_key, "run_id": run_id} for file in files])


def below(connection: sqlite3.Connection, agent_key: str, folders: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return {path: (size_bytes, mtime_ns)} of what an agent has processed in some folders, at any depth.

    `folders` are wire paths in normal form.
    """
    known: dict[str, tuple[int, int]] = {}
    for folder in folders:
        # '0' is the character after '/': the range holds what begins with the folder and a slash.
        for row in connection.execute(_BELOW, {"agent_key": agent_key, "folder": folder}):
            known[row["path"]] = (row["size_bytes"], row["mtime_ns"])
    return known
