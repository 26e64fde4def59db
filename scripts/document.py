"""Write the pages that are read off the code, docs/errors.md and docs/settings.md, or check that they are up to date.

python scripts/document.py           write them
python scripts/document.py --check   fail, naming the page, where one differs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, get_args

from google.rpc import code_pb2

from entasis.errors.v1 import error_reason_pb2
from entasis_engine.errors import CATALOGUE
from entasis_engine.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    stale = []
    for name, text in (("errors.md", errors()), ("settings.md", settings())):
        page = DOCS / name
        if arguments.check and (not page.is_file() or page.read_text() != text):
            stale.append(name)
        elif not arguments.check:
            page.write_text(text)
    for name in stale:
        print(f"docs/{name} is not what the code says: run `make docs` and commit the result.")
    return 1 if stale else 0


def errors() -> str:
    rows = [
        "# Errors",
        "",
        "Every error has the same body on every transport: `google.rpc.Status`, with an `ErrorInfo` whose `reason` is",
        "one of these, and a `BadRequest` that names each field at fault. Over REST it is the JSON body, and a header",
        "`x-error-code` repeats the reason. Over gRPC it is the status's details, with `x-error-code` in the trailing",
        'metadata. Over WebSocket it is a message with `"type": "error"`. `Accept-Language: ko` turns the words to',
        "Korean. Branch on the reason; the words may change.",
        "",
        "| reason | HTTP | gRPC status | words | Korean |",
        "|---|---|---|---|---|",
    ]
    order = {value.name: value.number for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values}
    for entry in sorted(CATALOGUE.values(), key=lambda one: (order[one.reason], one.http)):
        code = code_pb2.Code.Name(entry.code)
        rows.append(f"| `{entry.reason}` | {entry.http} | {code} | {entry.messages['en']} | {entry.messages['ko']} |")
    unused = [
        name for name, number in order.items() if number and name not in {one.reason for one in CATALOGUE.values()}
    ]
    rows += [
        "",
        f"Also in the contract, for services that are not served yet: {', '.join(f'`{name}`' for name in unused)}.",
        "",
        "Where trying again makes sense the status also carries a `google.rpc.RetryInfo` with the time to wait.",
        "",
    ]
    return "\n".join(rows)


def settings() -> str:
    rows = [
        "# Settings",
        "",
        "Each is an environment variable, or a line of a file `.env` in the working directory. `entasis up --help`",
        "shows those that are options too; an option wins over the environment, the environment over the file.",
        "",
        "| variable | default | what it is |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        choices = [str(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
        what = f"{field.description} One of {', '.join(choices)}." if choices else field.description
        rows.append(f"| `ENTASIS_{name.upper()}` | {_shown(field.default)} | {what} |")
    return "\n".join([*rows, ""])


def _shown(default: Any) -> str:
    if default is None or default in {"", ()}:
        return "empty"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default}`"


if __name__ == "__main__":
    sys.exit(main())
