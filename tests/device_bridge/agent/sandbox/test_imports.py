"""The agent starts light: the parsers of documents are loaded by their helper process only."""

from __future__ import annotations

import subprocess
import sys


def test_the_sandbox_loads_no_parser_of_documents() -> None:
    program = (
        "import sys, device_bridge.agent.sandbox; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pypdf', 'docx', 'openpyxl', 'lxml', 'PIL'}))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.strip() == "[]"
