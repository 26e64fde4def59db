"""Build the Java program, build/java/trade/trade.jar, out of the Maven artifacts that are pinned.

python tests/stubs/java/build.py          build
python tests/stubs/java/build.py --lock   fetch everything anew and pin it: after a change of versions

Maven pins versions, not contents, so dependencies.sha256 does: of every jar and every pom that the build fetched,
plugins included. They are kept in build/m2, a repository of their own. What is not in the list, or differs from it, is
removed before Maven begins, and where Maven fetched it, the build fails. Once all is there, Maven works offline. When
it fetches, its plugins run before they can be compared: for those, and then only, what holds is Maven's own check
against the registry's checksums (--strict-checksums) and the encrypted connection.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
ROOT = PROJECT.parents[2]
REPOSITORY = ROOT / "build" / "m2"
PINNED = PROJECT / "dependencies.sha256"
OUR_GROUP = "entasis"
"""What the build itself installs, so that the program finds it."""
MAVEN_SECONDS_MAX = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", action="store_true", help="pin what Maven fetches now")
    mvn = shutil.which("mvn")
    if mvn is None:
        print("`mvn` is not installed.", file=sys.stderr)
        return 1
    if parser.parse_args().lock:
        shutil.rmtree(REPOSITORY, ignore_errors=True)
        maven(mvn, "--strict-checksums")
        PINNED.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(fetched().items())))
        return 0
    pinned = {name: digest for digest, name in (line.split("  ") for line in PINNED.read_text().splitlines())}
    remove_others(pinned)
    maven(mvn, "--offline" if fetched() == pinned else "--strict-checksums")
    wrong = remove_others(pinned)
    for name in wrong:
        print(f"{name}, as Maven fetched it, is not what {PINNED.name} says.", file=sys.stderr)
    return 1 if wrong else 0


def remove_others(pinned: dict[str, str]) -> list[str]:
    """Remove from the repository what is not pinned as it is there; gives the names."""
    others = [name for name, digest in fetched().items() if pinned.get(name) != digest]
    for name in others:
        (REPOSITORY / name).unlink()
    return others


def maven(mvn: str, *options: str) -> None:
    """Build gen/java and the program, and install them into the repository."""
    subprocess.run(
        [
            mvn,
            "--batch-mode",
            "--quiet",
            *options,
            f"--file={PROJECT / 'pom.xml'}",
            f"-Dmaven.repo.local={REPOSITORY}",
            f"-Dentasis.build={ROOT / 'build' / 'java' / 'entasis-api'}",
            "install",
        ],
        check=True,
        timeout=MAVEN_SECONDS_MAX,
        # Maven ends before its compiled code would be worth optimising.
        env=os.environ | {"MAVEN_OPTS": f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC {os.environ.get('MAVEN_OPTS', '')}"},
    )


def fetched() -> dict[str, str]:
    """SHA-256 of each artifact in the repository, by its path there."""
    artifacts = sorted(file for suffix in ("jar", "pom") for file in REPOSITORY.rglob(f"*.{suffix}"))
    names = {file.relative_to(REPOSITORY).as_posix(): file for file in artifacts}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in names.items()
        if not name.startswith(f"{OUR_GROUP}/")
    }


if __name__ == "__main__":
    sys.exit(main())
