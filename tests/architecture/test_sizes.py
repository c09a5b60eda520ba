"""Modules and functions stay small. An exception is a line here, with its reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
EXCEPTIONS: dict[str, str] = {
    "tests/orchestrator/runs/test_prompts.py::test_the_system_prompt_of_processing": "one whole prompt, as it is sent",
}
"""Path or `path::function` to the reason why it may be longer."""

SOURCES = sorted(
    path
    for top in ("orchestrator", "device_bridge", "connectors", "protos", "tests")
    for path in (ROOT / top).rglob("*.py")
    if "protos/python/adiuva/" not in str(path)
)


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_and_its_functions_stay_small(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    text = path.read_text(encoding="utf-8")

    long_functions = [
        f"{name}::{function.name}"
        for function in functions(ast.parse(text))
        if (function.end_lineno or 0) - function.lineno >= MAX_FUNCTION_LINES
    ]

    assert len(text.splitlines()) <= MAX_MODULE_LINES or name in EXCEPTIONS
    assert not [one for one in long_functions if one not in EXCEPTIONS]


def test_every_exception_is_still_needed() -> None:
    assert not [name for name in EXCEPTIONS if not (ROOT / name.split("::")[0]).is_file()]
