"""Write everything in gen/ from proto/, or check that it is what proto/ says.

python -m scripts.generate           write gen/
python -m scripts.generate --check   fail, naming the files, where gen/ differs
python -m scripts.generate --protos  only lay out the imported protos for `buf` in build/protos
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.contract import asyncapi, descriptor, golang, java, openapi, python, typescript
from scripts.contract.tools import ROOT, lay_out_imported_protos


@dataclass(frozen=True)
class Part:
    """What is generated together."""

    generate: Callable[[Path], None]
    """Writes its folders into gen/, or into a temporary folder in place of it."""
    folders: tuple[str, ...]
    programs: tuple[str, ...] = ()
    """What must be installed beside Python's own packages, and go, without which nothing can be generated."""


PARTS = (
    Part(descriptor.generate, ("descriptor",)),
    Part(python.generate, ("python", "betterproto")),
    Part(openapi.generate, ("openapi",)),
    Part(asyncapi.generate, ("asyncapi",)),
    Part(golang.generate, ("go",)),
    Part(typescript.generate, ("typescript",), ("npm",)),
    Part(java.generate, ("java",), ("mvn",)),
)
"""In this order, since the later ones may read the descriptor set."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--protos", action="store_true", help="only lay out the imported protos in build/protos")
    arguments = parser.parse_args()
    lay_out_imported_protos()
    if arguments.protos:
        return 0
    known = {folder for part in PARTS for folder in part.folders}
    differences = {path.name for path in (ROOT / "gen").iterdir() if path.name not in known}
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / "gen"
        for part in PARTS:
            names = ", ".join(f"gen/{folder}" for folder in part.folders)
            if absent := [program for program in part.programs if shutil.which(program) is None]:
                if not arguments.check:
                    raise SystemExit(
                        f"{names}: needs {', '.join(absent)}, which is not installed. Nothing was changed."
                    )
                print(f"{names}: skipped, since {', '.join(absent)} is not installed")
                continue
            print(f"{names} …", flush=True)
            part.generate(fresh)
            if arguments.check:
                for folder in part.folders:
                    differences |= {f"{folder}/{name}" for name in compare(fresh / folder, ROOT / "gen" / folder)}
        if not arguments.check:
            replace(fresh, ROOT / "gen")
            print("gen/ is written.")
            return 0
    for difference in sorted(differences):
        print(f"gen/{difference}")
    print(
        "gen/ differs from what it is made of: run `make gen` and commit the result."
        if differences
        else "gen/ is up to date."
    )
    return 1 if differences else 0


def replace(fresh: Path, committed: Path) -> None:
    """Put what was generated in place of what was there, only once all of it is."""
    for old in committed.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(fresh, committed, dirs_exist_ok=True)


def compare(fresh: Path, committed: Path) -> set[str]:
    """Names, relative to both, of the files that differ or stand on one side only."""
    names = {
        str(path.relative_to(tree))
        for tree in (fresh, committed)
        for path in tree.rglob("*")
        if path.is_file() and not {"__pycache__", "target"} & set(path.parts)  # what Python and Maven make of them
    }
    return {
        name
        for name in names
        if not ((fresh / name).is_file() and (committed / name).is_file())
        or not filecmp.cmp(fresh / name, committed / name, shallow=False)
    }


if __name__ == "__main__":
    sys.exit(main())
