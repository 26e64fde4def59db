"""`entasis certs`: certificates for trials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from entasis_engine.settings import Settings

DAYS_MAX = 825
"""What some systems accept of a server's certificate at most."""

screen = Console(stderr=True, highlight=False)

PURPOSES = {
    "ca": "signing; callers trust it",
    "server": "Envoy and the engine",
    "edge": "Envoy, to an engine elsewhere",
    "bridge": "bridge, to an engine elsewhere",
    "client": "other clients of an engine",
}


def certs(
    out: Annotated[Path | None, typer.Option(help="Folder for them.", show_default="certs in the data folder")] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(help="A name or address that callers reach the server by, beside localhost; repeat for several."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=DAYS_MAX, help="How long they are valid.")] = 90,
    force: Annotated[bool, typer.Option("--force", help="Make a new authority, and forget the names before.")] = False,
) -> None:
    """Make certificates for trials: an authority of your own, and what it signs.

    The settings to use them are printed to standard output, so that they can be kept:

    `entasis certs --host engine.example.com >> .env`

    Again, it renews the certificates under the same authority. Whoever trusts `ca.pem` goes on trusting them, and
    servers that run take them up by themselves. For servers in public take certificates of a public authority.
    """
    # Not above, so that --help is quick.
    from entasis_engine.commands.authority import AuthorityError, make  # noqa: PLC0415
    from entasis_engine.tls import names_in  # noqa: PLC0415

    try:
        folder = (out or Settings().data_dir / "certs").absolute()
        made = make(folder, hosts=host or [], days=days, anew=force)
    except ValidationError as error:
        _refuse(f"The data folder is not known, since a setting is wrong; give --out. {error.errors()[0]['msg']}")
    except (AuthorityError, OSError) as error:
        _refuse(str(error))
    table = Table("file", "for", Column("names", overflow="fold"), "valid until", box=None, pad_edge=False)
    for name, signed in {"ca": made.authority, **made.leaves}.items():
        names = ", ".join(names_in(signed.certificate))
        table.add_row(f"{name}.pem, .key", PURPOSES[name], names, f"{signed.certificate.not_valid_after_utc:%F}")
    what = "A new authority and its certificates" if made.authority_is_new else "Renewed, under the same authority"
    screen.print(f"[bold]{what}[/], in {escape(str(folder))}:\n", soft_wrap=True)
    screen.print(table)
    screen.print(f"\nTry:   curl --cacert {escape(str(folder))}/ca.pem https://localhost:8443/…", soft_wrap=True)
    screen.print("Keep the .key files to yourself, ca.key above all. The settings:\n")
    typer.echo(_settings(folder))


def _settings(folder: Path) -> str:
    return "\n".join(
        [
            "# Envoy's TLS port and the engine's gRPC port:",
            f"ENTASIS_TLS_CERTIFICATE={folder}/server.pem",
            f"ENTASIS_TLS_KEY={folder}/server.key",
            "# An engine that Envoy and bridge reach from other hosts demands certificates:",
            f"#ENTASIS_TLS_CLIENT_CA={folder}/ca.pem",
            "# On those hosts Envoy (and with bridge.pem and bridge.key the bridge) shows one:",
            f"#ENTASIS_UPSTREAM_CA={folder}/ca.pem",
            f"#ENTASIS_UPSTREAM_CERTIFICATE={folder}/edge.pem",
            f"#ENTASIS_UPSTREAM_KEY={folder}/edge.key",
        ]
    )


def _refuse(text: str) -> NoReturn:
    screen.print(f"[red]Cannot go on:[/] {escape(text)}", soft_wrap=True)
    raise typer.Exit(1) from None
