"""gen/go: messages, gRPC clients and servers, and handlers of grpc-gateway, as one Go module."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from scripts.contract.tools import ROOT, TOOL_SECONDS_MAX, our_protos, protoc, run_go

MODULE = "entasis/gen/go"
"""The module's name, which `go_package` of each proto begins with."""
PLUGINS = {
    "google.golang.org/protobuf/cmd/protoc-gen-go": "go",
    "google.golang.org/grpc/cmd/protoc-gen-go-grpc": "go-grpc",
    "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway": "grpc-gateway",
}
BIN = ROOT / "build" / "go" / "bin"
IMPORTED_MODULES = (
    "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go",
    "github.com/grpc-ecosystem/grpc-gateway/v2",
    "google.golang.org/genproto/googleapis/api",
    "google.golang.org/grpc",
    "google.golang.org/protobuf",
)
"""What the generated code imports, in the versions that scripts/contract/go.mod pins."""


def generate(target: Path) -> None:
    """Write go/ into a folder. Needs the Go module proxy once; afterwards Go has all of it in its cache."""
    folder = target / "go"
    folder.mkdir(parents=True)
    run_go("build", "-o", f"{BIN}/", *PLUGINS)
    options = [f"--{plugin}_out={folder}" for plugin in PLUGINS.values()]
    options += [f"--{plugin}_opt=module={MODULE}" for plugin in PLUGINS.values()]
    protoc(our_protos(), *options, path=[BIN])
    make_module(folder)


def make_module(folder: Path) -> None:
    """Write go.mod and go.sum beside the generated code."""
    pinned = json.loads(run_go("mod", "edit", "-json"))
    versions = {required["Path"]: required["Version"] for required in pinned["Require"]}
    lines = [
        "// Code generated from scripts/contract/go.mod. DO NOT EDIT.",
        f"module {MODULE}",
        "",
        f"go {pinned['Go']}",
        "",
        "require (",
        *(f"\t{module} {versions[module]}" for module in IMPORTED_MODULES),
        ")",
        "",
    ]
    (folder / "go.mod").write_text("\n".join(lines))
    subprocess.run(["go", "mod", "tidy"], cwd=folder, check=True, timeout=TOOL_SECONDS_MAX, capture_output=True)
