"""`adiuva connections keys`: the file with the keys that grants are encrypted under. For the operator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connectors.cli.output import AsJson, fail, out, print_json
from connectors.vault.key_file import KeyFileError, add_key, create_key_file, remove_key

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The keys that grants are encrypted under.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The key file.", show_default=False)]


@app.command()
def create(
    file: File,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Leave a file that is there as it is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key file with one key. Whoever loses it loses every grant: keep a copy in a safe place."""
    if if_missing and file.exists():
        return
    try:
        create_key_file(file)
    except KeyFileError as error:
        fail("KEY_FILE", str(error))
    _say({"file": str(file)}, f"made {file}", as_json=as_json)


@app.command()
def add(file: File, as_json: AsJson = False) -> None:
    """Put a new key into the file. New grants use it at once; AdminService/RotateKeys moves the others."""
    try:
        key_id = add_key(file)
    except KeyFileError as error:
        fail("KEY_FILE", str(error))
    _say({"file": str(file), "key_id": key_id}, f"{key_id} is the current key now", as_json=as_json)


@app.command()
def remove(
    file: File,
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The key's id.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Take an old key out of the file, once RotateKeys counts no grant under it."""
    try:
        remove_key(file, key_id)
    except KeyFileError as error:
        fail("KEY_FILE", str(error))
    _say({"file": str(file), "removed": key_id}, f"removed {key_id}", as_json=as_json)


def _say(facts: dict[str, str], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        out.print(sentence, soft_wrap=True, markup=False)
