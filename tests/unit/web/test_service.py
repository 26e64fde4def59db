"""Pages and what they load: which files there are, and how they go out."""

from __future__ import annotations

import gzip
import re

import pytest

from entasis.web.v1 import web_pb2 as pb
from entasis_engine.calls import Call
from entasis_engine.errors import EntasisError
from entasis_engine.web import files
from entasis_engine.web.service import PLAIN_BYTES_MAX, WebService

LISTED = files.listed()


async def asked(path: str, *, rest: bool = True, **headers: str) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of an answer."""
    call = Call("GetAsset", [(name.replace("_", "-"), value) for name, value in headers.items()])
    call.original_path = "/" + path if rest else ""
    answer = await WebService().get_asset(pb.GetAssetRequest(path=path), call)
    return answer.data, dict(call.told) | {"content-type": answer.content_type}


def test_nothing_is_missing() -> None:
    """Every file that is listed is installed: our own, the documents of the API, and those of the two libraries."""
    assert files.missing() == []


@pytest.mark.parametrize("path", LISTED, ids=[path or "console" for path in LISTED])
async def test_a_file_goes_out_as_it_is_or_compressed(path: str) -> None:
    """A caller gets the bytes of the file, by gzip where they take it, with the type of its suffix."""
    body = LISTED[path].read_bytes()
    compressed, told = await asked(path, accept_encoding="br, *;q=0, gzip;q=0.8")
    assert gzip.decompress(compressed) == body
    assert told["content-encoding"] == "gzip"
    assert told["vary"] == "accept-encoding"
    assert told["content-type"] == files.CONTENT_TYPES[LISTED[path].suffix]
    plain, told_plain = await asked(path, rest=False, accept_encoding="gzip")
    assert plain == body
    assert "content-encoding" not in told_plain
    assert told["etag"] != told_plain["etag"]


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "br, gzip; q=0.0", "deflate", "*, gzip;q=0"])
async def test_whoever_does_not_take_gzip_gets_it_only_where_the_file_is_too_large_for_envoy(accepted: str) -> None:
    """Envoy holds answers whole, 1 MiB at most; smaller files go as they are to who does not ask for compression."""
    body, told = await asked("console/lightweight-charts.js", accept_encoding=accepted)
    assert body == LISTED["console/lightweight-charts.js"].read_bytes()
    assert "content-encoding" not in told
    large, told = await asked("docs/swagger-ui-bundle.js", accept_encoding=accepted)
    assert LISTED["docs/swagger-ui-bundle.js"].stat().st_size > PLAIN_BYTES_MAX > len(large)
    assert told["content-encoding"] == "gzip"


async def test_a_file_that_the_caller_has_is_not_sent_again() -> None:
    """With the ETag of the same coding in If-None-Match the answer is 304 and empty; with any other it is the file."""
    _, told = await asked("docs/start.js", accept_encoding="gzip")
    body, again = await asked("docs/start.js", accept_encoding="gzip", if_none_match=f'"other", {told["etag"]}')
    assert (body, again["x-http-code"]) == (b"", "304")
    _, again = await asked("docs/start.js", if_none_match="*")
    assert again["x-http-code"] == "304"
    body, again = await asked("docs/start.js", if_none_match=told["etag"])
    assert body
    assert "x-http-code" not in again


async def test_pages_may_load_from_here_alone() -> None:
    """The pages carry a policy without any other host and without inline code; no file names one to load from."""
    for page in files.PAGES:
        _, told = await asked(page)
        policy = told["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        html = LISTED[page].read_text()
        loaded = re.findall(r'<(?:script|link|img)[^>]*?(?:src|href)="([^"]*)"', html)
        assert loaded
        assert all(one.startswith(("/docs/", "/console/", "data:")) for one in loaded)
        assert all(one.lstrip("/") in LISTED for one in loaded if one.startswith("/"))


@pytest.mark.parametrize(
    "path",
    [
        "nope",
        "docs/nope.js",
        "../settings.py",
        "console/../service.py",
        "console/%2e%2e/x",
        "/",
        "docs/",
        "console/x.py",
    ],
)
async def test_nothing_else_is_served(path: str) -> None:
    """A path that is not listed is REQUEST_002, whatever it would lead to on the disk."""
    with pytest.raises(EntasisError) as refused:
        await asked(path)
    assert refused.value.entry.reason == "REQUEST_002"
