"""The commands that run on the device. Each module holds one typer app named `app`."""
