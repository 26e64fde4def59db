"""Build the TypeScript program, dist/node.js and dist/browser.js with its page, unless it is built already.

Several may ask at once, since test files run side by side: one builds and the others wait for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
STUBS = PROJECT.parents[2] / "gen" / "typescript"
BUILD = PROJECT.parents[2] / "build" / "typescript"
"""What was built last, and the lock."""
NPM_SECONDS_MAX = 300.0


def main() -> int:
    npm = shutil.which("npm")
    if npm is None:
        print("`npm` is not installed.", file=sys.stderr)
        return 1
    BUILD.mkdir(parents=True, exist_ok=True)
    built = BUILD / "built.sha256"
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = digest()
        if built.is_file() and built.read_text() == wanted and (PROJECT / "dist" / "node.js").is_file():
            return 0
        built.unlink(missing_ok=True)
        for command in (["ci", "--prefer-offline"], ["run", "build"]):
            subprocess.run([npm, "--silent", *command], cwd=PROJECT, check=True, timeout=NPM_SECONDS_MAX)
        built.write_text(wanted)
    return 0


def digest() -> str:
    """SHA-256 of all that the program is built from."""
    everything = hashlib.sha256()
    settings = [PROJECT / name for name in (".npmrc", "package.json", "package-lock.json", "tsconfig.json")]
    sources = (path for folder in (PROJECT / "src", STUBS) for path in folder.rglob("*") if path.is_file())
    for path in [*settings, *sorted(sources)]:
        everything.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return everything.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
