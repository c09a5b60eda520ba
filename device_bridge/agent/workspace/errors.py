"""What can be wrong with a workspace as a whole. The messages are for the person at this device."""

from __future__ import annotations

from pathlib import Path


class WorkspaceError(Exception):
    """Root: the workspace cannot be used. The message says why and what to do."""


class NoWorkspace(WorkspaceError):
    """There is no workspace database where one was looked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"There is no workspace at {path}. A device agent makes it when it first starts.")


class WorkspaceTooNew(WorkspaceError):
    """A newer version of the device agent has written this database."""

    def __init__(self, version: int, known: int) -> None:
        super().__init__(
            f"The workspace has version {version} and this program knows only {known}. "
            "A newer device agent has written it: update this one."
        )


class WorkspaceUnusable(WorkspaceError):
    """The file is not a workspace database, is held by another program, or may not be opened."""

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(f"{path} cannot be used as a workspace: {why}.")


class NothingToDecide(WorkspaceError):
    """An id names nothing that waits for the user's decision, or more than one thing."""
