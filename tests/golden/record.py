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
from orchestrator.runs.incoming import Attachment, Participant
from orchestrator.runs.messages import ModelAnswer, ModelRequest, TriageBrief
from tests.fakes.device_tools import FakeFile
from tests.fakes.models import calls, diligent, say, tool, turn
from tests.golden.journal_files import FOLDER, write_journal
from tests.orchestrator.runs.lab import ACME, QUICK, CloudLab, Lab, cloud_definition, definition

ME = Participant(address="me@example.org", name="Me")

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


def new_mail() -> Lab:
    """Threads of a mailbox: quotes, an attachment, a message that cannot be read, and one of which there is more."""
    lab = CloudLab(definition=cloud_definition(instructions="Mails of the tax office matter most."))
    lab.laptop.workspace.add("project", ACME, name="Acme", description="Website", status="Active")
    lab.laptop.workspace.add("task", "task-known", title="Send the offer", project_id=None, status="ToDo")
    mailbox = lab.mailbox
    mailbox.add("18c1", "TODO Book the photographer\n", thread="18c1", subject="Photos for Acme", to=(ME,))
    mailbox.add_unreadable("18c2")
    mailbox.add("18c3", "NOTE The office is closed in August\n", thread="18c3", subject="Holidays", truncated=True)
    mailbox.add(
        "18c4",
        "DONE Send the offer\n\n> TODO Book the photographer\n",
        thread="18c1",
        subject="Re: Photos for Acme",
        new_text="DONE Send the offer",
        quoted=True,
        attachments=(Attachment(name="offer.pdf", media_type="application/pdf", size_bytes=81_000),),
        labels=("INBOX",),
    )
    mailbox.add("18c5", "Our spring sale begins today.\n", thread="18c5", subject="50 % off")
    return lab


RUNS: dict[str, Callable[[], Lab]] = {
    "new-mail": new_mail,
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
