"""What an evaluation tells: goals with what was measured, tables and plots; and how they become a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Goal:
    """One figure to reach, and what was measured."""

    name: str
    timeframe: str
    wanted: str
    measured: Mapping[str, str]
    """By symbol."""
    met: Mapping[str, bool]
    """By symbol."""


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    title: str
    markdown: str
    """Without the title."""
    goals: tuple[Goal, ...] = ()
    plots: Mapping[str, Figure] = field(default_factory=dict)
    """By file name without its ending; the page shows them below the text."""


def goal_table(goals: Sequence[Goal]) -> str:
    """Goals row by row, a column for each symbol."""
    symbols = list(dict.fromkeys(symbol for goal in goals for symbol in goal.measured))
    lines = [f"| goal | timeframe | wanted | {' | '.join(symbols)} |", "|---" * (3 + len(symbols)) + "|"]
    for goal in goals:
        cells = [
            f"{goal.measured[symbol]} — {'met' if goal.met[symbol] else '**MISSED**'}"
            if symbol in goal.measured
            else "not measured"
            for symbol in symbols
        ]
        lines.append(f"| {goal.name} | {goal.timeframe} | {goal.wanted} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)])


def write(folder: Path, title: str, opening: str, sections: Sequence[Section]) -> Path:
    """The page as README.md with its plots beside it; returns where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    goals = [goal for section in sections for goal in section.goals]
    parts = [f"# {title}", opening]
    if goals:
        parts += ["## Goals", goal_table(goals)]
    for section in sections:
        parts += [f"## {section.title}", section.markdown]
        for name, figure in section.plots.items():
            figure.savefig(folder / f"{name}.png", dpi=90, bbox_inches="tight", metadata={"Software": None})
            parts.append(f"![{name.replace('-', ' ')}]({name}.png)")
    page = folder / "README.md"
    page.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
    return page
