"""gen/python (grpcio) and gen/betterproto (dataclasses)."""

from __future__ import annotations

from pathlib import Path

from scripts.contract.tools import our_protos, our_services, protoc


def generate(target: Path) -> None:
    """Write python/ and betterproto/ into a folder."""
    python, betterproto = target / "python", target / "betterproto" / "entasis_betterproto"
    python.mkdir(parents=True)
    betterproto.mkdir(parents=True)
    # The validation rules are options of our fields, and no published package carries their Python module.
    protoc([*our_protos(), "buf/validate/validate.proto"], f"--python_out={python}", f"--pyi_out={python}")
    protoc(our_services(), f"--grpc_python_out={python}", f"--mypy_grpc_out=readable_stubs,quiet:{python}")
    protoc(our_protos(), f"--python_betterproto2_out={betterproto}", "--python_betterproto2_opt=client_generation=sync")
