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
from pathlib import Path

from scripts.contract import descriptor, python
from scripts.contract.tools import ROOT, lay_out_imported_protos

PARTS: dict[str, Callable[[Path], None]] = {
    "descriptor": descriptor.generate,
    "python": python.generate,
}
"""Each writes its folders anew into gen/, or into a temporary folder in place of it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--protos", action="store_true", help="only lay out the imported protos in build/protos")
    arguments = parser.parse_args()
    lay_out_imported_protos()
    if arguments.protos:
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / "gen"
        for part, generate in PARTS.items():
            print(f"{part} …")
            generate(fresh)
        if not arguments.check:
            replace(fresh, ROOT / "gen")
            print("gen/ is written.")
            return 0
        differences = sorted(compare(fresh, ROOT / "gen"))
    for difference in differences:
        print(f"gen/{difference}")
    print("gen/ differs from proto/: run `make gen` and commit the result." if differences else "gen/ is up to date.")
    return 1 if differences else 0


def replace(fresh: Path, committed: Path) -> None:
    """Put what was generated in place of what was there, only once all of it is."""
    for old in committed.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(fresh, committed, dirs_exist_ok=True)


def compare(fresh: Path, committed: Path) -> set[str]:
    """Names, relative to gen/, of the files that differ or stand on one side only."""
    names = {
        str(path.relative_to(tree))
        for tree in (fresh, committed)
        for path in tree.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {
        name
        for name in names
        if not ((fresh / name).is_file() and (committed / name).is_file())
        or not filecmp.cmp(fresh / name, committed / name, shallow=False)
    }


if __name__ == "__main__":
    sys.exit(main())
