"""`entasis doctor`: what is wrong with an installation, and what mends it."""
# ruff: noqa: PLC0415 - commands import what they need, so that --help is quick

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entasis_engine.commands.printing import print_json, tell

if TYPE_CHECKING:
    from entasis_engine.commands.doctor_facts import Check
    from entasis_engine.commands.doctor_rules import Finding
    from entasis_engine.settings import Settings


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table, for scripts.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the data.", show_default="ENTASIS_DATA_DIR, or entasis-data")
    ] = None,
) -> None:
    """Check the installation, its settings and its data, and tell what mends what is wrong. It changes nothing.

    Exit code 0: nothing is wrong, though there may be warnings. 1: something is. It may run beside an engine.

    `entasis doctor --json | jq '.findings[] | select(.state != "ok")'`
    """
    from entasis_engine.commands.doctor_facts import checks, settings_or_defaults
    from entasis_engine.commands.doctor_rules import State, exit_code

    settings, faults = settings_or_defaults()
    if data_dir is not None:
        settings = settings.model_copy(update={"data_dir": data_dir})
    findings = examine(checks(faults), settings)
    counted = {state: sum(one.state is state for one in findings) for state in State}
    if as_json:
        print_json(
            {
                "findings": [
                    {"check": one.check, "state": one.state.value, "found": one.found, "mend": one.mend}
                    for one in findings
                ],
                "warnings": counted[State.WARNING],
                "wrong": counted[State.WRONG],
            }
        )
    else:
        _print(findings)
        tell(f"{counted[State.OK]} ok, {counted[State.WARNING]} warnings, {counted[State.WRONG]} wrong.")
    raise typer.Exit(exit_code(findings))


def examine(to_do: Sequence[Check], settings: Settings) -> list[Finding]:
    """Do all checks side by side, each within its time; one that fails, or hangs, spoils none of the others."""
    from entasis_engine.commands.doctor_rules import wrong

    results: dict[str, list[Finding]] = {}

    def do(check: Check) -> None:
        try:
            results[check.name] = list(check.look(settings))
        except Exception as error:  # what is broken may break in any way
            text = f"could not be looked at: {type(error).__name__}: {error}"
            results[check.name] = [wrong(check.name, text, "make setup; if it stays, report it")]

    # Daemons: one that hangs must not keep the program from ending.
    threads = [threading.Thread(target=do, args=(check,), name=check.name, daemon=True) for check in to_do]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    found: list[Finding] = []
    for check, thread in zip(to_do, threads, strict=True):
        thread.join(max(0.0, started + check.seconds_max - time.monotonic()))
        late = wrong(check.name, f"no answer within {check.seconds_max:.0f} s", "look at the load of this machine")
        found += results.get(check.name, [late])
    return found


def _print(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from entasis_engine.commands.doctor_rules import State

    styles = {State.OK: "green", State.WARNING: "yellow", State.WRONG: "bold red"}
    table = Table("check", "state", "found", "what to do")
    for one in findings:
        table.add_row(one.check, Text(one.state.value, style=styles[one.state]), Text(one.found), Text(one.mend))
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)
