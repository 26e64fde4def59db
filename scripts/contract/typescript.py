"""gen/typescript: messages and services for browsers and Node.js (protobuf-es), to be called with Connect.

JavaScript with declarations rather than TypeScript: Node.js and every bundler take it out of `node_modules` as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2

from scripts.contract.lean import lean_contract
from scripts.contract.tools import ROOT, TOOL_SECONDS_MAX

GENERATOR = ROOT / "scripts" / "contract" / "node"
"""The package that pins the generator, by version and hash."""
INSTALLED = ROOT / "build" / "contract" / "node"
"""Where it is installed: only the first time needs a registry."""
RUNTIME = "^2.13.0"
"""The releases of @bufbuild/protobuf that run what the generator's release writes."""
ENTRIES = {
    "./access/v1": "entasis/access/v1/access_pb",
    "./analysis/v1": "entasis/analysis/v1/analysis_pb",
    "./errors/v1": "entasis/errors/v1/error_reason_pb",
    "./market/v1": "entasis/market/v1/market_pb",
    "./portfolio/v1": "entasis/portfolio/v1/portfolio_pb",
    "./web/v1": "entasis/web/v1/web_pb",
    "./rpc": "google/rpc/error_details_pb",
}
"""What a program imports, and the file behind it."""


def generate(target: Path) -> None:
    """Write typescript/ into a folder: an npm package, complete but for its runtime."""
    package = target / "typescript"
    package.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        descriptor_set = Path(temporary) / "lean.binpb"
        names = lean_contract(descriptor_set, "google/rpc/error_details.proto")
        contract = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set.read_bytes())
    # Asked as protoc asks its plugins; the protoc of grpcio-tools cannot be kept from reading the proto files instead.
    request = plugin_pb2.CodeGeneratorRequest(
        file_to_generate=names, parameter="target=js+dts,import_extension=js", proto_file=contract.file
    )
    done = subprocess.run(
        [str(install_generator() / "protoc-gen-es")],
        input=request.SerializeToString(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=TOOL_SECONDS_MAX,
    )
    answer = plugin_pb2.CodeGeneratorResponse.FromString(done.stdout)
    if answer.error:
        raise SystemExit(f"protoc-gen-es: {answer.error}")
    for file in answer.file:
        (package / file.name).parent.mkdir(parents=True, exist_ok=True)
        (package / file.name).write_text(file.content)
    missing = [file for file in ENTRIES.values() if not (package / f"{file}.js").is_file()]
    unnamed = [name for name in names if name.removesuffix(".proto") + "_pb" not in ENTRIES.values()]
    if missing or [name for name in unnamed if not name.startswith("google/api/")]:
        raise SystemExit(f"ENTRIES of scripts/contract/typescript.py is out of date: {missing or unnamed}")
    (package / "package.json").write_text(json.dumps(manifest(), indent=2) + "\n")
    (package / "README.md").write_text(README)


def manifest() -> dict[str, object]:
    """package.json. The runtime is a peer, since a program must have one copy of it only."""
    exports = {entry: {"types": f"./{file}.d.ts", "default": f"./{file}.js"} for entry, file in sorted(ENTRIES.items())}
    return {
        "name": "entasis-api",
        "version": "0.1.0",
        "description": "Messages and services of Entasis Engine, for browsers and Node.js.",
        "license": "Apache-2.0",
        "private": True,
        "type": "module",
        "sideEffects": False,
        "exports": exports,
        "peerDependencies": {"@bufbuild/protobuf": RUNTIME},
    }


README = """\
# entasis-api

Messages and services of Entasis Engine for browsers and Node.js, written by `make gen` from proto/: edit nothing here.

- `entasis-api/market/v1`, `…/portfolio/v1`, `…/analysis/v1`, `…/access/v1`, `…/web/v1`: a service and its messages
- `entasis-api/errors/v1`: the reasons of errors
- `entasis-api/rpc`: what errors carry: `ErrorInfo`, `BadRequest`, `RetryInfo`

How to call them: docs/clients/typescript.md.
"""


def install_generator() -> Path:
    """The folder that `protoc-gen-es` is in, installed as the lock file says."""
    programs = INSTALLED / "node_modules" / ".bin"
    pinned = (GENERATOR / "package-lock.json").read_bytes()
    stamp = INSTALLED / "installed-lock.json"
    if stamp.is_file() and stamp.read_bytes() == pinned:
        return programs
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("`npm` is not installed. It is needed only to generate gen/typescript.")
    shutil.rmtree(INSTALLED, ignore_errors=True)
    INSTALLED.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(GENERATOR / name, INSTALLED / name)
    subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=INSTALLED,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"NO_UPDATE_NOTIFIER": "1"},
        check=True,
        timeout=TOOL_SECONDS_MAX,
    )
    stamp.write_bytes(pinned)
    return programs
