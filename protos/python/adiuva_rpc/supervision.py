"""A process that a supervisor on this machine started ends with it, however the supervisor ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

SUPERVISOR_VARIABLE = "ADIUVA_SUPERVISOR_PID"
PR_SET_PDEATHSIG = 1


def end_with_supervisor() -> None:
    """Ask the kernel for SIGTERM when the supervisor dies; call it first in `main`. Nothing without a supervisor.

    Linux only: elsewhere a supervisor that is killed leaves its processes running.
    """
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if not supervisor or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(supervisor):
        # It died before we asked.
        os.kill(os.getpid(), signal.SIGTERM)
