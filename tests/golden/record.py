"""Records the golden journals anew: `python -m tests.golden.record`.

Do it only when runs are meant to take other steps than before, and say in the change why they do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

from orchestrator.agents.domain import Budgets, DataType
from orchestrator.runs.domain import ModelFault
from orchestrator.runs.messages import ModelAnswer, ModelRequest, TriageBrief
from tests.fakes.device_tools import FakeFile
from tests.fakes.models import calls, diligent, say, tool, turn
from tests.golden.journal_files import FOLDER, write_journal
from tests.orchestrator.runs.lab import ACME, QUICK, Lab, definition

FILES: dict[str, str | FakeFile] = {
    "sample/acme/kickoff.md": "# Kick-off\nTODO Book the photographer\nDONE Send the offer\n",
    "sample/acme/brief.md": "NOTE The client wants green\n",
    "sample/garden-club/ideas.md": "PROJECT Garden Club\nTODO Buy seeds\n",
    "sample/garden-club/photo.png": FakeFile(failure="BINARY", size_bytes=9_000),
    "sample/todo.txt": "TODO Renew the insurance\n",
}


def one_of_each() -> Lab:
    """A project, a folder, a loose file: tasks, a note, a project, a comment and a proposal."""
    lab = Lab(definition=definition(instructions="Mails of the tax office matter most."))
    lab.laptop.workspace.add("project", ACME, name="Acme", description="Website", status="Active")
    lab.laptop.workspace.add("task", "task-known", title="Send the offer", project_id=ACME, status="ToDo")
    lab.files(FILES)
    return lab


def refused_answers() -> Lab:
    """Triage that has to be asked again, calls that are not sent, files that cannot be read, a group that fails."""

    def script(request: ModelRequest) -> ModelAnswer | ModelFault:
        if isinstance(request.brief, TriageBrief):
            answers = [say("All of it is about Acme."), say(json.dumps({"made-up": [], ACME: []}))]
            return answers[turn(request)] if turn(request) < len(answers) else diligent(request)
        if "garden" in request.brief.items[0]:
            return ModelFault("The model cannot be reached. Try again later.")
        if turn(request) == 0:
            return calls(tool("format_disk"), tool("list_tasks", "no JSON"), tool("list_notes"))
        return diligent(request)

    lab = one_of_each()
    lab.definition = replace(lab.definition, data_types=frozenset({DataType.TASKS}))
    lab.model = type(lab.model)(script)
    lab.files({"sample/acme/gone.md": FakeFile(failure="NOT_FOUND", size_bytes=10)})
    return lab


def out_of_budget() -> Lab:
    """A run that ends by its budget, one group at a time."""
    lab = one_of_each()
    lab.limits = replace(QUICK, groups=1)
    lab.definition = replace(lab.definition, budgets=Budgets(max_tool_calls=9))
    return lab


RUNS: dict[str, Callable[[], Lab]] = {
    "one-of-each": one_of_each,
    "refused-answers": refused_answers,
    "out-of-budget": out_of_budget,
}


async def record() -> None:
    """Run every run and write its journal."""
    for name, make in RUNS.items():
        lab = make()
        journal = await lab.journal()
        await lab.work_on(journal)
        write_journal(FOLDER / f"{name}.jsonl", journal.run, await lab.journals.read(lab.run_id))


if __name__ == "__main__":
    asyncio.run(record())
