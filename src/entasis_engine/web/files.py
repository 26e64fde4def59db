"""The files that are served: our own, the documents of the API, and those of two libraries, all from this machine.

The libraries' files come in wheels of PyPI (the group `pages` of pyproject.toml), since nothing but pip is needed to
install: Swagger UI in drf-spectacular-sidecar, TradingView's Lightweight Charts in lightweight-charts. Only their files
are used, so the wheels are installed without what their Python code would need.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from entasis_engine import assets

_HERE = Path(__file__).parent
_SWAGGER_UI = ("drf-spectacular-sidecar", "drf_spectacular_sidecar/static/drf_spectacular_sidecar/swagger-ui-dist")
_LIGHTWEIGHT_CHARTS = ("lightweight-charts", "lightweight_charts/js")

CONTENT_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}
"""By suffix; a file of any other is not served."""
PAGES = ("", "docs")


@dataclass(frozen=True)
class File:
    """A file as it goes out."""

    content_type: str
    body: bytes
    compressed: bytes
    """The same by gzip (RFC 1952)."""
    etag: str
    """A strong validator (RFC 9110, section 8.8.3) of the body as it is; the compressed one has another."""
    etag_compressed: str


def listed() -> dict[str, Path]:
    """Every path that is served, without its leading slash, and the file behind it, which may be missing."""
    console = _HERE / "console"
    places = {f"console/{path.name}": path for path in sorted(console.iterdir()) if path.suffix in CONTENT_TYPES}
    return places | {
        "": console / "index.html",
        "console/lightweight-charts.js": _of_wheel(*_LIGHTWEIGHT_CHARTS, "lightweight-charts.js"),
        "docs": _HERE / "swagger" / "index.html",
        "docs/page.css": _HERE / "swagger" / "page.css",
        "docs/start.js": _HERE / "swagger" / "start.js",
        "docs/swagger-ui.css": _of_wheel(*_SWAGGER_UI, "swagger-ui.css"),
        "docs/swagger-ui-bundle.js": _of_wheel(*_SWAGGER_UI, "swagger-ui-bundle.js"),
        "docs/openapi.yaml": _of_contract("gen/openapi/entasis.yaml"),
        "docs/asyncapi.yaml": _of_contract("gen/asyncapi/entasis.yaml"),
    }


def missing() -> list[str]:
    """Paths whose file is not installed, sorted."""
    return sorted(name for name, path in listed().items() if not path.is_file())


def read(path: Path) -> File:
    """A file, ready to go out. Raises OSError where it is missing."""
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:32]
    compressed = gzip.compress(body, mtime=0)
    return File(CONTENT_TYPES[path.suffix], body, compressed, f'"{digest}"', f'"{digest}-gzip"')


def _of_wheel(distribution: str, folder: str, name: str) -> Path:
    try:
        return Path(str(metadata.distribution(distribution).locate_file(f"{folder}/{name}")))
    except metadata.PackageNotFoundError:
        return _HERE / "not-installed" / name


def _of_contract(name: str) -> Path:
    try:
        return assets.path(name)
    except FileNotFoundError:
        return _HERE / "not-installed" / name
