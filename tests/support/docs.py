"""The documentation as data: its pages, the blocks and commands in them, and which of these run elsewhere, and why.

`tests/e2e/test_docs.py` runs what is found here; `tests/unit/test_docs.py` holds pages and tree to each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

SHELL = {"sh", "console"}
PYTHON = {"python"}
JAVASCRIPT = {"js", "javascript"}
DATA = {"json", "yaml", "toml", "ini"}
EXCERPTS = {"proto": "proto", "go": "tests/stubs", "typescript": "tests/stubs", "java": "tests/stubs"}
"""Languages whose blocks must be literal excerpts of a file below the folder; that is built and run by others."""
DRAWINGS = {"", "text"}

COMMANDS = ("curl", "docker", "envoy", "git", "grpcurl", "jq", "openssl", "pip", "pytest", "python", "sqlite3")
"""A span of code in the text that begins with one of these and has arguments is a command, as one in a block is."""


@dataclass(frozen=True)
class Elsewhere:
    """A command of a page that the runner leaves out: by its words, in which `*` stands for anything."""

    command: str
    why: str
    runs: str | None
    """What runs it instead: a file of the tree that has it, or `make target`; None where nothing can."""
    page: str = "*"


ELSEWHERE: Sequence[Elsewhere] = (
    Elsewhere("make run*", "does not end; it is `entasis up` after an installation", "tests/e2e/test_up.py"),
    Elsewhere("make test", "is what runs this", ".ci/run"),
    Elsewhere("make setup*", "installs", ".ci/run"),
    Elsewhere("make lint*", "takes a minute, and is a step of its own", ".ci/run"),
    Elsewhere("make gen*", "writes into the tree, and its check is a step of its own", ".ci/run"),
    Elsewhere("python -m scripts.evaluation", "takes many minutes, and wants real candles", "make evaluate"),
    Elsewhere("entasis up*", "does not end; the pages run against one", "tests/e2e/test_up.py"),
    Elsewhere("*entasis serve * --engine engine.example.com:50051*", "wants another host", "tests/e2e/test_tls.py"),
    Elsewhere("entasis train", "takes long, and the engine trains already", "tests/integration/test_training.py"),
    Elsewhere("entasis train --candles *", "takes long", "tests/integration/test_training.py"),
    Elsewhere("cd tests/stubs/go && *", "builds first, which may take minutes", "tests/e2e/test_clients.py"),
    Elsewhere("cd tests/stubs/typescript && npm *", "builds first, in the tree", "tests/e2e/test_clients.py"),
    Elsewhere("cd tests/stubs/typescript && python3 *", "does not end", "tests/e2e/test_browser_client.py"),
    Elsewhere("mvn *", "builds, and writes into the home folder", None),
    Elsewhere("python tests/stubs/java/build.py", "builds, which may take minutes", "tests/e2e/test_clients.py"),
    Elsewhere("* java -jar build/java/*", "is built by the line before", "tests/e2e/test_clients.py"),
    Elsewhere("cd tests/stubs/gateway && go run *", "does not end, and builds first", "tests/e2e/test_gateway.py"),
    Elsewhere("docker run *", "fetches an image", None),
    Elsewhere("envoy -c *", "does not end", "tests/e2e/edge/test_process.py"),
    Elsewhere("curl -X POST 'localhost:9901/*", "ends the engine's listener", "tests/e2e/test_up.py"),
)


@dataclass(frozen=True)
class Block:
    """A block of code, or a command in the text, as it stands on a page."""

    page: str
    """Relative to the root."""
    line: int
    language: str
    text: str
    sample: str = ""
    """What the page shows right beneath as its output; empty where it shows none."""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page, relative to the root. Those that ask for forecasts come last: models are trained meanwhile."""
    found = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]
    return sorted(found, key=lambda page: "/analysis/prediction" in text_of(page))


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


_FENCE = re.compile(r"^([ \t]*)```([^\s`]*)\s*$")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page and the commands in its text, from top to bottom."""
    return blocks_in(page, text_of(page))


def blocks_in(page: str, text: str) -> list[Block]:
    fenced, rest = _fenced(page, text)
    spans = [
        Block(page, rest[: found.start()].count("\n") + 1, "sh", " ".join(found[1].split()))
        for found in _SPAN.finditer(rest)
        if found[1].split()[0] in COMMANDS and len(found[1].split()) > 1
    ]
    return sorted([*fenced, *spans], key=lambda block: block.line)


def prose_of(page: str) -> str:
    """A page without its blocks; its lines keep their numbers."""
    return _fenced(page, text_of(page))[1]


def _fenced(page: str, text: str) -> tuple[list[Block], str]:
    blocks: list[Block] = []
    prose: list[str] = []
    opened: tuple[int, str, str] | None = None
    inside: list[str] = []
    last_end = 0
    for number, line in enumerate(text.split("\n"), start=1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, inside = (number, fence[1], fence[2]), []
            prose.append("")
            continue
        if opened is not None and fence and not fence[2]:
            start, indent, language = opened
            block = Block(page, start, language, "\n".join(one.removeprefix(indent) for one in inside) + "\n")
            beneath = blocks and not any(one.strip() for one in prose[last_end : start - 1])
            if beneath and language in {"json", "text"} and blocks[-1].language in SHELL | PYTHON | JAVASCRIPT:
                blocks[-1] = replace(blocks[-1], sample=block.text)
            blocks.append(block)
            opened, last_end = None, number
            prose.append("")
            continue
        if opened is None:
            prose.append(line)
        else:
            inside.append(line)
            prose.append("")
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: the block has no end")
    return blocks, "\n".join(prose)


def commands_in(block: Block) -> list[str]:
    """The commands of a block of shell, in order: a line each, with what backslashes at line ends join."""
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    else:
        lines = block.text.replace("\\\n", " ").splitlines()
    return [line for line in (one.strip() for one in lines) if line and not line.startswith("#")]


def elsewhere(page: str, command: str) -> Elsewhere | None:
    """The entry of the table that a command is left out by, if any."""
    words = " ".join(re.sub(r"\s#\s.*$", "", command).split())
    for prefix in (".venv/bin/", ""):
        for entry in ELSEWHERE:
            if fnmatchcase(page, entry.page) and fnmatchcase(words.removeprefix(prefix), entry.command):
                return entry
    return None


def commands_to_run(block: Block) -> list[str]:
    return [command for command in commands_in(block) if elsewhere(block.page, command) is None]


# What a sample has in common with what is printed instead of it.

_KINDS = (
    ("time", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")),
    ("number", re.compile(r"-?\d+(\.\d+)?")),
    ("symbol", re.compile(r"[A-Z0-9]+-[A-Z0-9]+")),
)


def form(value: Any) -> Any:
    """What a JSON value is like: names of fields, and of each value its kind instead of itself."""
    if isinstance(value, dict):
        return {name: form(one) for name, one in value.items()}
    if isinstance(value, list):
        return [form(value[0])] if value else []
    if isinstance(value, str):
        return next((kind for kind, pattern in _KINDS if pattern.fullmatch(value)), "text")
    return type(value).__name__


def lacking(shown: Any, given: Any, at: str = "") -> Iterator[str]:
    """What a sample's form has and another's has not, or otherwise. A list without elements is like any list."""
    if isinstance(shown, dict) and isinstance(given, dict):
        for name in shown.keys() | given.keys():
            if name not in given or name not in shown:
                yield f"{at}.{name} is only {'shown' if name in shown else 'given'}"
            else:
                yield from lacking(shown[name], given[name], f"{at}.{name}")
    elif isinstance(shown, list) and isinstance(given, list):
        if shown and given:
            yield from lacking(shown[0], given[0], f"{at}[]")
    elif shown != given:
        yield f"{at} is shown as {shown} and given as {given}"


def differences(sample: str, output: str) -> list[str]:
    """Where an output has not the form of the sample of it; empty where it has.

    A sample in JSON stands for the last line of the output, or for all of it; another is compared line by line, with
    every run of digits as one.
    """
    try:
        shown = json.loads(sample)
    except ValueError:
        return [
            f"{line!r} is shown and {other!r} is printed"
            for line, other in zip(sample.splitlines(), [*output.splitlines(), *[""] * 100], strict=False)
            if re.sub(r"\d+", "0", line).strip() != re.sub(r"\d+", "0", other).strip()
        ]
    try:
        given = json.loads(output)
    except ValueError:
        last = (output.strip().splitlines() or [""])[-1]
        try:
            given = json.loads(last)
        except ValueError:
            return [f"JSON is shown and this is printed: {last!r}"]
    if shows_an_error(sample):
        shown, given = essence(shown), essence(given)
        return [] if shown == given else [f"{shown} is shown and {given} is given"]
    return list(lacking(form(shown), form(given)))


def essence(error: dict[str, Any]) -> dict[str, Any]:
    """What callers branch on in the body of an error: its words and values may be others."""
    details = [
        (one["@type"].rpartition(".")[2], one.get("reason"), sorted(one.get("metadata", ())))
        for one in error.get("details", ())
    ]
    return {"code": error.get("code"), "details": sorted(details, key=str)}


def shows_an_error(sample: str) -> bool:
    """Whether a sample is the body of an error."""
    try:
        shown = json.loads(sample)
    except ValueError:
        return False
    return isinstance(shown, dict) and {"code", "message", "details"} <= shown.keys()
