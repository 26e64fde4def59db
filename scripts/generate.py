"""Write everything in gen/ from proto/, or check that it is what proto/ says.

python scripts/generate.py           write gen/
python scripts/generate.py --check   fail, naming the files, where gen/ differs
python scripts/generate.py --protos  only lay out the imported protos for `buf` in build/protos
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

SCOPES = ("market:read", "portfolio:read", "portfolio:write", "analysis:read", "admin")
ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
IMPORTED = ROOT / "build" / "protos"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--protos", action="store_true", help="only lay out the imported protos in build/protos")
    arguments = parser.parse_args()
    lay_out_imported_protos()
    if arguments.protos:
        return 0
    if not arguments.check:
        generate(ROOT / "gen")
        print("gen/ is written.")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / "gen"
        generate(fresh)
        differences = sorted(compare(fresh, ROOT / "gen"))
    for difference in differences:
        print(f"gen/{difference}")
    print("gen/ differs from proto/: run `make gen` and commit the result." if differences else "gen/ is up to date.")
    return 1 if differences else 0


def lay_out_imported_protos() -> None:
    """Collect the protos that ours import, from where they are published, in one folder for buf and protoc."""
    shutil.rmtree(IMPORTED, ignore_errors=True)
    google = importlib.util.find_spec("google.rpc")
    if google is None or not google.submodule_search_locations:
        raise SystemExit("googleapis-common-protos is not installed: run `make setup`.")
    google_root = Path(google.submodule_search_locations[0]).parent
    for name in (
        "api/annotations.proto",
        "api/field_behavior.proto",
        "api/http.proto",
        "rpc/error_details.proto",
    ):
        copy(google_root / name, IMPORTED / "google" / name)
    module = json.loads(run_go("mod", "download", "-json", "github.com/bufbuild/protovalidate"))
    name = "buf/validate/validate.proto"
    copy(Path(module["Dir"]) / "proto" / "protovalidate" / name, IMPORTED / name)


def run_go(*arguments: str) -> str:
    if shutil.which("go") is None:
        raise SystemExit("`go` is not installed. It is needed only here, to fetch buf/validate/validate.proto.")
    done = subprocess.run(
        ["go", *arguments],
        cwd=ROOT / "scripts" / "contract",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def generate(target: Path) -> None:
    for part in ("python", "betterproto", "descriptor"):
        shutil.rmtree(target / part, ignore_errors=True)
        (target / part).mkdir(parents=True)
    ours = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with_services = [name for name in ours if "service " in (PROTO / name).read_text()]
    # Envoy prints an error's details only if it knows their types: with one unknown, the whole body would be empty.
    protoc(
        [*ours, "google/rpc/error_details.proto"],
        f"--descriptor_set_out={target}/descriptor/entasis.binpb",
        "--include_imports",
    )
    require_requirements(target / "descriptor" / "entasis.binpb")
    # The validation rules are options of our fields, and no published package carries their Python module.
    protoc([*ours, "buf/validate/validate.proto"], f"--python_out={target}/python", f"--pyi_out={target}/python")
    protoc(with_services, f"--grpc_python_out={target}/python", f"--mypy_grpc_out=readable_stubs,quiet:{target}/python")
    better = target / "betterproto" / "entasis_betterproto"
    better.mkdir()
    protoc(ours, f"--python_betterproto2_out={better}", "--python_betterproto2_opt=client_generation=sync")


def require_requirements(descriptor_set: Path) -> None:
    """Fail where an RPC does not say who may call it: nothing is served by default."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    # The options as the set itself defines them, since the generated modules may be those of another state.
    options_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.protobuf.MethodOptions"))
    requirement = pool.FindExtensionByName("entasis.access.v1.requirement")
    undeclared = [
        f"{file.package}.{service.name}.{method.name}"
        for file in files
        for service in file.service
        for method in service.method
        if not makes_sense(options_class.FromString(method.options.SerializeToString()).Extensions[requirement])
    ]
    if undeclared:
        raise SystemExit(
            f"These RPCs do not say who may call them: {', '.join(undeclared)}. "
            "Add to each: option (entasis.access.v1.requirement)."
        )


def makes_sense(requirement: Message) -> bool:
    """Whether exactly one thing is asked for. `access/needs.py` has the same rule and refuses to start without."""
    asked = [getattr(requirement, name) for name in ("scope", "api_key", "anyone", "internal")]
    scope = requirement.scope
    return sum(map(bool, asked)) == 1 and (not scope or scope in SCOPES) and (not requirement.public or bool(scope))


def protoc(files: list[str], *options: str) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
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
        env=environment,
        timeout=300,
    )


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
