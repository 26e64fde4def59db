"""Fail where the contract breaks what clients built on an earlier commit rely on (`buf breaking`, WIRE_JSON).

The contract is compared with the newest committed descriptor set that differs from it, so the check means something
both before a commit and after it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DESCRIPTOR = "gen/descriptor/entasis.binpb"


def main() -> int:
    before = last_different_descriptor()
    if before is None:
        print("breaking: there is no earlier contract to compare with.")
        return 0
    target = ROOT / "build" / "before.binpb"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(before)
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or "buf"
    # Descriptor sets know nothing of buf.yaml, where the same rule stands for whoever runs buf by hand.
    rule = '{"version": "v2", "breaking": {"use": ["WIRE_JSON"]}}'
    return subprocess.run(
        [buf, "breaking", DESCRIPTOR, "--against", str(target), "--config", rule], cwd=ROOT, check=False, timeout=120
    ).returncode


def last_different_descriptor() -> bytes | None:
    current = (ROOT / DESCRIPTOR).read_bytes()
    for commit in git("log", "--format=%H", "--", DESCRIPTOR).decode().split():
        committed = git("show", f"{commit}:{DESCRIPTOR}")
        if committed != current:
            return committed
    return None


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=60).stdout


if __name__ == "__main__":
    sys.exit(main())
