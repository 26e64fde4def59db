"""What the pages name is there: files, headings, make targets, settings, commands, paths of the API."""

from __future__ import annotations

import json
import os
import re
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from tests.support import docs

from entasis_engine.cli import app
from entasis_engine.settings import KEY_VARIABLE, Settings

ROOT = docs.ROOT
PAGES = docs.pages()
SOURCE = ROOT / "src" / "entasis_engine"
LINK = re.compile(r"\]\(([^)\s]+)\)|\b(?:src|href)=\"([^\"]+)\"")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
VARIABLE = re.compile(r"\bENTASIS_[A-Z0-9_]*[A-Z0-9]\b(?![_…]|`?…)")


def spans_of(page: str) -> list[str]:
    return [" ".join(found[1].split()) for found in SPAN.finditer(docs.prose_of(page))]


def commands_of(page: str) -> list[str]:
    """Every command that a page names, in blocks and in the text."""
    blocks = [block for block in docs.blocks_of(page) if block.language in docs.SHELL]
    named = [command for block in blocks for command in docs.commands_in(block)]
    return [re.sub(r"\s#\s.*$", "", command) for command in (*named, *spans_of(page))]


def anchors_of(page: str) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", docs.prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page: str) -> Iterator[tuple[str, str]]:
    """Of each link of a page to another, or to a file: the path relative to the root, and the heading."""
    for found in LINK.finditer(docs.prose_of(page)):
        target = found[1] or found[2]
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield str(((ROOT / page).parent / path).resolve().relative_to(ROOT)) if path else page, anchor


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link names a file or folder that is there, and a heading that the page has."""
    for path, anchor in links_of(page):
        assert (ROOT / path).exists(), f"{page} leads to {path}"
        if anchor:
            assert anchor in anchors_of(path), f"{page} leads to {path}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    """Whoever begins at docs/README.md, or at the README, comes to every page."""
    for first in ("docs/README.md", "README.md"):
        seen, ahead = set(), {first}
        while ahead:
            page = ahead.pop()
            seen.add(page)
            for path, _ in links_of(page) if page in PAGES else ():
                found = {path} if path.endswith(".md") else set()
                if (ROOT / path).is_dir():
                    found = {one for one in PAGES if str(Path(one).parent) == path}
                ahead |= found - seen
        assert not {page for page in PAGES if page.startswith("docs/")} - seen


def test_the_architecture_page_names_every_room() -> None:
    """Each top-level folder, package and room, and each module beside the rooms, is named."""
    text = docs.text_of("docs/architecture.md")
    ignored = {line.strip("/ ") for line in (ROOT / ".gitignore").read_text().splitlines()}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")} - ignored
    packages = {f"src/{path.name}" for path in (ROOT / "src").iterdir() if path.is_dir() and list(path.glob("*.py"))}
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    modules = {path.name for path in SOURCE.glob("*.py") if not path.name.startswith("_")}
    missing = {
        *(f"{name}/" for name in folders | packages | rooms if f"`{name}/`" not in text),
        *(name for name in modules if f"`{name}`" not in text),
    } - {"src/"}
    assert not missing


def test_what_the_architecture_page_names_is_there() -> None:
    """Each path on it exists, from the root or in a package; each module of a room is one, or a command's name."""
    named = {span for span in spans_of("docs/architecture.md") if re.fullmatch(r"[\w.]+(/[\w.]*)+|\w+\.py", span)}
    gone = [span for span in named if not any((base / span).exists() for base in (ROOT, ROOT / "src", SOURCE))]
    assert not gone
    commands = _entasis().commands.keys()
    for line in docs.text_of("docs/architecture.md").splitlines():
        if row := re.match(r"\| `(\w+)/` \| (.*) \|$", line):
            room = next(base / row[1] for base in (SOURCE, ROOT) if (base / row[1]).is_dir())
            for word in re.findall(r"`([a-z_]+)`", row[2]):
                there = (room / word).is_dir() or (room / f"{word}.py").is_file()
                assert there or word == "src" or (room.name == "commands" and word in commands), f"{room} has no {word}"


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_that_are_named_exist(page: str) -> None:
    """`make x y` names targets of the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands_of(page):
        if command.startswith("make "):
            assert {word for word in command.split()[1:] if re.fullmatch(r"[a-z-]+", word)} <= targets, command


@cache
def variables_of_tests() -> set[str]:
    """Those that tests and the programs in tests/stubs read, and that targets set for them."""
    files = [ROOT / "Makefile"]
    for folder, folders, names in os.walk(ROOT / "tests"):
        folders[:] = set(folders) - {"node_modules"}  # another test may be making it anew
        files += [Path(folder, name) for name in names if name.endswith(".py")]
    texts = [*(path.read_text() for path in files), *_sources("tests/stubs")]
    return {name for text in texts for name in VARIABLE.findall(text)}


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_are_named_exist(page: str) -> None:
    """Each `ENTASIS_…` is a setting, or is read by tests, their programs, or `entasis watch`."""
    settings = {f"ENTASIS_{name.upper()}" for name in Settings.model_fields} | {KEY_VARIABLE}
    assert set(VARIABLE.findall(docs.text_of(page))) - settings - variables_of_tests() == set()


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_of_entasis_that_are_named_exist(page: str) -> None:
    """`entasis a b --c` names a command and its options; `a|b` names both."""
    for command in commands_of(page):
        for found in re.findall(r"(?:^|[\s(/])entasis ([a-z].*)", command):
            words = re.split(r"\s+(?:[|>&]|2>)|\)", found)[0].split()
            for alternative in words[0].split("|"):
                _check_command([alternative, *words[1:]], f"{page}: {command}")


@cache
def _entasis() -> Any:
    return typer.main.get_group(app)


def _check_command(words: list[str], where: str) -> None:
    command = _entasis()
    while (commands := getattr(command, "commands", None)) and words and not words[0].startswith("-"):
        names = words.pop(0).split("|")
        if names[0].startswith(("…", "[")):
            return
        assert set(names) <= commands.keys(), where
        command = commands[names[0]]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, where


def served_paths() -> set[tuple[str, str]]:
    """Verb and path of everything in the contract below /api/v1."""
    contract = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gen/descriptor/entasis.binpb").read_bytes())
    served = set()
    for method in (method for file in contract.file for service in file.service for method in service.method):
        rule = method.options.Extensions[annotations_pb2.http]
        for one in (rule, *rule.additional_bindings):
            if verb := one.WhichOneof("pattern"):
                served.add((verb.upper(), getattr(one, verb)))
    return {(verb, path) for verb, path in served if path.startswith("/api/v1/")}


def test_rest_md_has_every_path() -> None:
    """The table of paths is that of the contract."""
    shown = set()
    for cell in re.findall(r"^\| (.*?) \|", docs.text_of("docs/rest.md"), re.MULTILINE):
        for verb, path in re.findall(r"`(?:([A-Z]+) )?(/api/v1/[^`?]*)", cell):
            shown.add((verb or "GET", path))
    assert shown == served_paths()


@pytest.mark.parametrize("page", PAGES)
def test_paths_that_are_named_are_served(page: str) -> None:
    """Each `/api/v1/…` is a path of the contract, but for the one that the page of errors shows to be none."""
    patterns = [re.sub(r"\\{\w+\\}", r"[^/]+", re.escape(path)) for _, path in served_paths()]
    named = re.findall(r"(?a:/api/v1/[\w/:{}$.-]*[\w}](?!…|[/*]|\w))", docs.text_of(page))
    for path in set(named) - {"/api/v1/nowhere"}:
        assert any(re.fullmatch(pattern, path) for pattern in patterns), f"{page} names {path}"


def test_grpc_md_names_every_service() -> None:
    """Each service that callers may call is named as it is called."""
    contract = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gen/descriptor/entasis.binpb").read_bytes())
    services = {f"{file.package}.{service.name}" for file in contract.file for service in file.service}
    assert {service for service in services if f"`{service}`" not in docs.text_of("docs/grpc.md")} == set()


# Blocks of code.


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_held_to_something(page: str) -> None:
    """Its language is one that is run; or it is data, which parses; or an excerpt of a file that others run."""
    for block in docs.blocks_of(page):
        if block.language == "json":
            _parse_json(block.text)
        elif block.language == "yaml":
            yaml.safe_load(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "ini":
            assert all(re.fullmatch(r"(#.*|ENTASIS_[A-Z0-9_]+=.*|)", line) for line in block.text.splitlines())
        elif folder := docs.EXCERPTS.get(block.language):
            assert any(_unindented(block.text) in text for text in _sources(folder)), f"{block.where} is no excerpt"
        else:
            assert block.language in docs.SHELL | docs.PYTHON | docs.JAVASCRIPT | docs.DRAWINGS, block.where


def _parse_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        for line in text.splitlines():
            json.loads(line)


@cache
def _sources(folder: str) -> list[str]:
    """What is written by hand below a folder, without indentation."""
    paths: list[Path] = []
    for path, folders, names in os.walk(ROOT / folder):
        folders[:] = [name for name in folders if name not in {"node_modules", "dist", "target"}]
        paths += [Path(path, name) for name in names if Path(name).suffix in {".proto", ".go", ".ts", ".java"}]
    return [_unindented(one.read_text()) for one in paths]


def _unindented(text: str) -> str:
    return "\n".join(line.strip() for line in textwrap.dedent(text).strip().splitlines())


def test_what_is_not_run_is_named_with_what_runs_it() -> None:
    """Each entry of the table leaves out a command that a page has, and names a file or target that is there."""
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    left_out = {
        docs.elsewhere(page, command)
        for page in PAGES
        for block in docs.blocks_of(page)
        if block.language in docs.SHELL
        for command in docs.commands_in(block)
    }
    for entry in docs.ELSEWHERE:
        assert entry in left_out, f"no page has {entry.command}"
        assert entry.why
        if entry.runs is not None:
            there = entry.runs.removeprefix("make ") in targets or (ROOT / entry.runs).is_file()
            assert there, f"{entry.runs} is not there"


# The rules themselves.

PAGE = """
Text with `curl http://localhost` and
`entasis up`.

```sh
one \\
  --two   # why
# a comment
three
```
```json
{"a": "1.5"}
```
```python
print()
```

Here the output is not beneath.

```text
1
```
"""


def test_a_page_is_read_as_its_blocks_and_commands() -> None:
    """Blocks and commands in the text come in order, with the sample that is right beneath a block."""
    blocks = docs.blocks_in("a.md", PAGE)
    assert [(block.line, block.language) for block in blocks] == [
        (2, "sh"),
        (5, "sh"),
        (11, "json"),
        (14, "python"),
        (20, "text"),
    ]
    assert docs.commands_in(blocks[0]) == ["curl http://localhost"]
    assert docs.commands_in(blocks[1]) == ["one    --two   # why", "three"]
    assert [block.sample for block in blocks] == ["", '{"a": "1.5"}\n', "", "", ""]


def test_a_block_without_an_end_is_an_error() -> None:
    """It would swallow the rest of the page, and every command there."""
    with pytest.raises(ValueError, match=r"a\.md:1"):
        docs.blocks_in("a.md", "```sh\nls\n")


@pytest.mark.parametrize(
    ("sample", "output", "same"),
    [
        ('{"price": "1.50", "at": "2024-03-21T09:00:00Z"}', '{"price": "2", "at": "2026-01-01T00:00:00.123Z"}', True),
        ('{"price": "1.50"}', '{"price": 1.5}', False),
        ('{"price": "1.50"}', '{"price": "1.50", "more": 1}', False),
        ('{"price": "1.50", "more": 1}', '{"price": "1.50"}', False),
        ('{"all": [{"a": 1}]}', '{"all": []}', True),
        ('{"all": [{"a": 1}]}', '{"all": [{"b": 1}]}', False),
        ('{"price": "1.50"}', 'first\n{"price": "7"}\n', True),
        ("BTC-USDT: 65432.10", "BTC-USDT: 7.1\nand more", True),
        ("BTC-USDT: 65432.10", "ETH-USDT: 7.1", False),
        ("one\ntwo", "one", False),
    ],
)
def test_a_sample_stands_for_outputs_of_its_form(sample: str, output: str, same: bool) -> None:
    """Names and kinds of values count, the values do not."""
    assert (docs.differences(sample, output) == []) is same


def test_the_sample_of_an_error_stands_for_its_reason() -> None:
    """Words and values may be others; code, reason and the names of what is told of it may not."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "PORT_003", "metadata": {"position_id": "a"}}
    shown = json.dumps({"code": 5, "message": "none", "details": [info]})
    same = json.dumps({"code": 5, "message": "없음", "details": [info | {"metadata": {"position_id": "b"}}]})
    other = json.dumps({"code": 5, "message": "none", "details": [info | {"reason": "PORT_004"}]})
    assert docs.shows_an_error(shown)
    assert docs.differences(shown, same) == []
    assert docs.differences(shown, other)
