"""Moving a connection's cursor past what a run has done, once that is journaled."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from adiuva_rpc.failpoints import failpoint
from orchestrator.agents.domain import CloudConnector
from orchestrator.runs.domain import Run, RunFault
from orchestrator.runs.ports import Messages
from orchestrator.runs.progress import Progress
from orchestrator.runs.workbench import log_unexpected

logger = structlog.get_logger(__name__)


def committable(progress: Progress) -> str:
    """Return the cursor token of the last checkpoint before which everything is done; empty for none.

    Done is what was processed or given up. What the connectors could not read is theirs, and holds nothing up.
    """
    if progress.fetched is None or progress.items is None:
        return ""
    given_up = {path for path, failed in progress.failed.items() if failed.given_up}
    paths = [item.path for item in progress.items]
    done = progress.processed | given_up
    first_open = next((place for place, path in enumerate(paths) if path not in done), len(paths))
    passed = [checkpoint for checkpoint in progress.fetched.checkpoints if checkpoint.items <= first_open]
    return passed[-1].cursor_token if passed else ""


async def move_cursor(run: Run, progress: Progress, messages: Messages, *, within: timedelta) -> None:
    """Commit what can be committed. When that fails the run stays as it is: the next one gets the same and skips it."""
    source = run.definition.source
    token = committable(progress)
    if not token or not isinstance(source, CloudConnector):
        return
    failpoint("orchestrator.before_cursor_commit")
    try:
        async with asyncio.timeout(within.total_seconds()):
            await messages.commit(run.user_id, source.connection_id, token)
    except (RunFault, TimeoutError) as fault:
        reason = fault.reason if isinstance(fault, RunFault) else "TIMEOUT"
        logger.warning("cursor_not_moved", run_id=run.run_id, reason=reason)
        return
    except Exception as error:  # noqa: BLE001 - a run ends also when its cursor cannot be moved; it is logged
        log_unexpected(error, run.run_id)
        return
    failpoint("orchestrator.after_cursor_commit")
