"""The gRPC servicer of pages: decode, one call, encode."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from google.api.httpbody_pb2 import HttpBody

from entasis.web.v1 import web_pb2 as pb
from entasis_engine.calls import Call
from entasis_engine.errors import EntasisError
from entasis_engine.web import files

log = structlog.get_logger()

PLAIN_BYTES_MAX = 1_000_000
"""Over REST a larger body always goes compressed: Envoy holds an answer whole, and 1 MiB at most."""
NOT_MODIFIED = ("x-http-code", "304")
ALWAYS = (
    ("cache-control", "no-cache"),  # kept by the browser, and asked for anew: an engine that is upgraded shows at once
    ("vary", "accept-encoding"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
)
OF_PAGES = (
    (
        "content-security-policy",
        # What a page may load and ask is this engine alone. `data:` is for the icons in Swagger UI's style sheet.
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


class WebService:
    """Serves `entasis.web.v1.WebService`. Each file is read once, when it is first asked for."""

    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["WebService"]

    def __init__(self) -> None:
        self._places = files.listed()
        self._read: dict[str, files.File] = {}
        if missing := files.missing():
            log.warning("web.files_missing", paths=missing, remedy="make setup")

    async def get_asset(self, request: pb.GetAssetRequest, call: Call) -> HttpBody:
        """A file. Raises REQUEST_002 where there is none."""
        place = self._places.get(request.path)
        if place is None:
            raise EntasisError("NOTHING_HERE")
        file = self._read.get(request.path)
        if file is None:
            file = self._read[request.path] = await self._from_disk(place)
        wanted = {name: str(value) for name, value in call.metadata if name in {"accept-encoding", "if-none-match"}}
        # Whoever does not say what they read must be ready for any coding (RFC 9110, section 12.5.3).
        small = len(file.body) <= PLAIN_BYTES_MAX
        compressed = bool(call.original_path) and (_takes_gzip(wanted.get("accept-encoding", "")) or not small)
        etag = file.etag_compressed if compressed else file.etag
        call.told = (("etag", etag), *ALWAYS, *(OF_PAGES if request.path in files.PAGES else ()))
        if _matches(wanted.get("if-none-match", ""), etag):
            call.told = (*call.told, NOT_MODIFIED)
            return HttpBody(content_type=file.content_type)
        if compressed:
            call.told = (*call.told, ("content-encoding", "gzip"))
        return HttpBody(content_type=file.content_type, data=file.compressed if compressed else file.body)

    async def _from_disk(self, place: Path) -> files.File:
        try:
            return await asyncio.to_thread(files.read, place)
        except FileNotFoundError:
            raise EntasisError("NOTHING_HERE") from None


def _matches(if_none_match: str, etag: str) -> bool:
    """Whether a caller has the file already (RFC 9110, section 13.1.2)."""
    had = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in had or had == ["*"]


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether a caller says that they read gzip (RFC 9110, section 12.5.3): by name, or else by `*`."""
    weights: dict[str, str] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = weight.replace(" ", "")
    weight = weights.get("gzip", weights.get("*", "q=0"))
    return weight.rstrip("0.") != "q="
