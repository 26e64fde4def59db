"""What subcommands share: the settings they go by, and how they print."""
# ruff: noqa: PLC0415 - commands import what they need, so that --help is quick

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from entasis_engine.settings import Settings

screen = Console(stderr=True, highlight=False)


def settings_in(data_dir: Path | None) -> Settings:
    """The settings, with the data folder of the command line. Ends the command where a setting is wrong."""
    from pydantic import ValidationError

    from entasis_engine.settings import Settings

    try:
        return Settings(data_dir=data_dir) if data_dir is not None else Settings()
    except ValidationError as error:
        for fault in error.errors(include_input=False):  # the input may be a secret
            name = "_".join(str(part) for part in fault["loc"])
            tell(f"[red]ENTASIS_{name.upper()}[/]: {escape(fault['msg'])}")
        raise typer.Exit(2) from None


def tell(text: str) -> None:
    """One unbroken line for people, on standard error."""
    screen.print(text, soft_wrap=True)


def moment(at: datetime) -> str:
    """A time, as people read it."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def print_json(value: Any) -> None:
    """On standard output, for scripts."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output, as wide as the terminal; elsewhere as wide as it needs, so that no value is cut."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    table.columns[0].no_wrap = True
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)
