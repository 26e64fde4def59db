"""What every generator needs: where the protos are, and how to call protoc and go."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
IMPORTED = ROOT / "build" / "protos"
"""The protos that ours import, laid out as `lay_out_imported_protos` leaves them."""
GO_MODULE = ROOT / "scripts" / "contract"
"""The Go module that pins what is taken from Go: a proto file, and generators."""
TOOL_SECONDS_MAX = 600.0


def our_protos() -> list[str]:
    """Our proto files, relative to proto/, sorted."""
    return sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))


def our_services() -> list[str]:
    """Those of them that declare a service."""
    return [name for name in our_protos() if "\nservice " in (PROTO / name).read_text()]


def lay_out_imported_protos() -> None:
    """Collect the protos that ours import, from where they are published, in one folder for buf and protoc."""
    google = importlib.util.find_spec("google.rpc")
    if google is None or not google.submodule_search_locations:
        raise SystemExit("googleapis-common-protos is not installed: run `make setup`.")
    google_root = Path(google.submodule_search_locations[0]).parent
    shutil.rmtree(IMPORTED, ignore_errors=True)
    for name in (
        "api/annotations.proto",
        "api/field_behavior.proto",
        "api/http.proto",
        "api/httpbody.proto",
        "rpc/error_details.proto",
        "rpc/status.proto",
    ):
        _copy(google_root / name, IMPORTED / "google" / name)
    module = json.loads(run_go("mod", "download", "-json", "github.com/bufbuild/protovalidate"))
    name = "buf/validate/validate.proto"
    _copy(Path(module["Dir"]) / "proto" / "protovalidate" / name, IMPORTED / name)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def run_go(*arguments: str) -> str:
    """What `go` prints, called in the module that pins its tools."""
    if shutil.which("go") is None:
        raise SystemExit("`go` is not installed. It is needed only to generate: for a proto file, and for generators.")
    done = subprocess.run(
        ["go", *arguments],
        cwd=GO_MODULE,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TOOL_SECONDS_MAX,
    )
    return done.stdout


def protoc(files: Sequence[str], *options: str, path: Sequence[Path] = ()) -> None:
    """Run protoc over our protos and the imported ones.

    Args:
        options: what to write, such as `--python_out=…`.
        path: folders of further plugins (`protoc-gen-…`), searched first.
    """
    places = [*map(str, path), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={IMPORTED}",
            *options,
            *files,
        ],
        check=True,
        env=os.environ | {"PATH": os.pathsep.join(places)},
        timeout=TOOL_SECONDS_MAX,
    )
