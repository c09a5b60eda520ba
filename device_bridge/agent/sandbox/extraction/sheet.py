"""The text of an Excel workbook: each sheet under its name, one row a line, cells apart by tabs."""

from __future__ import annotations

import io
from datetime import date, datetime, time

import openpyxl

from device_bridge.agent.sandbox.extraction import archive
from device_bridge.agent.sandbox.extraction.bounds import MAX_COLUMNS, MAX_ROWS, TextBuilder


def convert(data: bytes, into: TextBuilder) -> None:
    """Add the values of each sheet as they were last computed; empty rows are left out.

    Raises:
        Unconvertible: as `archive.check`. Any other exception means the workbook is broken.
    """
    archive.check(data)
    workbook = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    rows_left = MAX_ROWS
    for sheet in workbook.worksheets:
        if not into.add(f"# {sheet.title}"):
            return
        # The size that a sheet claims for itself is often wrong, and can be a lie.
        sheet.reset_dimensions()
        for row in sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True):
            if rows_left == 0:
                into.cut()
                return
            rows_left -= 1
            line = "\t".join(map(_cell, row)).rstrip("\t")
            if line and not into.add(line):
                return
        into.add("")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "minutes")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace("\t", " ").replace("\n", " ")
