"""The files of the benchmark of a run: short notes and lists of a freelancer, the same ones each time."""

from __future__ import annotations

import uuid

from tests.fakes.device_tools import FakeFile, Workspace

_NAMES = ("Acme Website", "Gufo Menu", "Luz Festival", "Nuvola Shop", "Studio Portfolio", "Tournebulle Catalogue")
_KINDS = ("brief", "checklist", "kickoff", "ideas", "printing", "review", "handover")
_FILLER = (
    "The client likes short sentences and large photographs. Nothing of this is urgent, but it should not be lost.\n"
    "The old material stays where it is until the new one has been looked at by everybody.\n"
)


def lay_out(workspace: Workspace, *, projects: int, files: int) -> None:
    """Put the projects into the workspace, and the files, spread evenly, below a folder for each."""
    for number in range(projects):
        name = _NAMES[number % len(_NAMES)]
        workspace.add("project", str(uuid.UUID(int=number + 1)), name=name, description="", status="Active")
    for number in range(files):
        name = _NAMES[number % projects]
        kind = _KINDS[number // projects % len(_KINDS)]
        path = f"sample/{name.lower().replace(' ', '-')}/{kind}.md"
        workspace.files[path] = FakeFile(_text(name, kind, number))


def _text(name: str, kind: str, number: int) -> str:
    day = number % 27 + 1
    return (
        f"# {name}: {kind}\n\n{_FILLER}\n"
        f"- [ ] Send the {kind} of {name} to the client @due(2026-05-{day:02})\n"
        f"- [x] Collect the texts for the {kind} of {name}\n\n{_FILLER}"
    )
