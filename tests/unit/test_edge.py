"""The edge's configuration: what `render` puts in, and that Envoy's own errors are those of the catalogue."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

from entasis_engine import assets
from entasis_engine.edge import EdgeError, Https, TcpEndpoint, UnixEndpoint, explain, open_edge, render, secrets
from entasis_engine.errors import CATALOGUE, EntasisError, Language, status_as_json
from entasis_engine.settings import Settings
from entasis_engine.tls import Identity, UpstreamTls

CONFIG_TEXT = assets.path("envoy/envoy.yaml").read_text(encoding="utf-8")
CONFIG: dict[str, Any] = yaml.safe_load(CONFIG_TEXT)
MANAGER = CONFIG["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
FILTERS = {part["name"].rpartition(".")[2]: part["typed_config"] for part in MANAGER["http_filters"]}
REASON_HEADER = "x-error-code"

# Case of the catalogue, HTTP status, and what Envoy fills into the message; in the order of the mappers.
ANSWERS: list[tuple[str, int, dict[str, str]]] = [
    ("METHOD_REFUSED", 405, {"methods": "%DYNAMIC_METADATA(entasis:allow)%"}),
    ("NOTHING_HERE", 404, {}),
    ("TOO_SLOW", 408, {}),  # not the catalogue's 504: here the caller is late
    ("TOO_LARGE", 413, {"limit": str(FILTERS["body_size_limit"]["max_request_bytes"])}),
    ("HEADERS_TOO_LARGE", 431, {}),
    ("REQUEST_MALFORMED", 400, {"problem": "%RESPONSE_CODE_DETAILS%"}),
    ("REQUEST_MALFORMED", 400, {"problem": "%LOCAL_REPLY_BODY%"}),
    ("NO_SUCH_RPC", 501, {"method": "%REQ(:PATH)%"}),
    ("UNAVAILABLE", 503, {}),
    ("TOO_SLOW", 504, {}),
    ("INTERNAL", 500, {"request_id": "%REQ(X-REQUEST-ID)%"}),
]
LANGUAGES: tuple[Language, ...] = ("ko", "en")
ENGLISH_ALONE = {"HEADERS_TOO_LARGE"}  # Envoy has not read Accept-Language by then


def _rendered(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "rest_port": 1,
        "admin_port": 2,
        "engine": UnixEndpoint(Path("/run/engine.sock")),
        "bridge": TcpEndpoint("127.0.0.1", 3),
        "descriptor": Path("/x/entasis.binpb"),
        "lua": Path("/x/rest.lua"),
    }
    rendered: dict[str, Any] = json.loads(render(CONFIG_TEXT, **(values | changes)))
    return rendered


def _catalogued(case: str, values: dict[str, str], language: Language) -> dict[str, Any]:
    if case != "REQUEST_MALFORMED":
        return status_as_json(EntasisError(case, **values).status(language))
    body = status_as_json(EntasisError(case).status(language))
    return body | {"message": CATALOGUE[case].messages[language].format_map(values)}


@pytest.mark.parametrize(
    ("mapper", "case", "status", "values", "language"),
    [
        (mapper, case, status, values, language)
        for mapper, (case, status, values, language) in zip(
            MANAGER["local_reply_config"]["mappers"],
            [
                (*answer, language)
                for answer in ANSWERS
                for language in LANGUAGES
                if language == "en" or answer[0] not in ENGLISH_ALONE
            ],
            strict=True,
        )
    ],
)
def test_envoys_own_errors_are_those_of_the_catalogue(
    mapper: dict[str, Any], case: str, status: int, values: dict[str, str], language: Language
) -> None:
    """Each mapper answers with the catalogue's status, code, words, details and headers, in its language."""
    entry = CATALOGUE[case]
    headers = {option["header"]["key"]: option["header"]["value"] for option in mapper["headers_to_add"]}
    retry = {} if entry.retry_after_seconds is None else {"retry-after": str(entry.retry_after_seconds)}

    assert mapper["body_format_override"]["json_format"] == _catalogued(case, values, language)
    assert mapper["status_code"] == status
    assert status == entry.http or (case, status) == ("TOO_SLOW", 408)
    allow = {"allow": values["methods"]} if "methods" in values else {}
    assert headers == {REASON_HEADER: entry.reason} | retry | allow
    assert ("accept-language" in json.dumps(mapper["filter"])) == (language == "ko")


def test_every_status_of_400_and_more_has_a_mapper() -> None:
    """The last of the 4xx mappers takes any 4xx, and the last of all takes what is left."""

    def bounds(mapper: dict[str, Any]) -> str:
        return json.dumps(mapper["filter"])

    mappers = MANAGER["local_reply_config"]["mappers"]
    any_4xx, any_5xx = mappers[12], mappers[-1]
    assert '"op": "GE", "value": {"default_value": 400' in bounds(any_4xx)
    assert '"op": "LE", "value": {"default_value": 499' in bounds(any_4xx)
    assert any_5xx["filter"]["status_code_filter"]["comparison"]["op"] == "GE"
    assert any_5xx["filter"]["status_code_filter"]["comparison"]["value"]["default_value"] == 500


def test_errors_can_be_read_by_pages_of_other_origins() -> None:
    """CORS exposes the headers that errors are told in, for REST and for gRPC-Web, and allows no credentials."""
    policies = [part for part in _mappings(CONFIG) if part.get("@type", "").endswith("CorsPolicy")]
    assert len({policy["allow_methods"] for policy in policies}) == 2
    for policy in policies:
        assert {REASON_HEADER, "retry-after", "x-request-id"} <= set(policy["expose_headers"].split(","))
        assert "allow_credentials" not in policy


def test_both_transcoders_serve_the_same() -> None:
    """REST as server-sent events differs from REST as lines in the framing alone."""
    lines, events = (copy.deepcopy(p) for p in _mappings(CONFIG) if p.get("@type", "").endswith("GrpcJsonTranscoder"))
    assert lines["print_options"].pop("stream_newline_delimited")
    assert events["print_options"].pop("stream_sse_style_delimited")
    assert lines == events


CONTRACT = descriptor_pb2.FileDescriptorSet.FromString(assets.path("gen/descriptor/entasis.binpb").read_bytes())
RPCS = [
    (f"/{file.package}.{service.name}/{method.name}", method)
    for file in CONTRACT.file
    for service in file.service
    for method in service.method
    if method.options.Extensions[annotations_pb2.http].WhichOneof("pattern")  # others are for parts of the engine
]


def test_the_edge_knows_the_methods_of_every_path() -> None:
    """The table in rest.lua, by which 405 is told from 404, is what the contract says: no path more, none less."""
    lua = assets.path("envoy/rest.lua").read_text(encoding="utf-8")
    [table] = re.findall(r"local METHODS = \{(.*?)\n\}", lua, re.DOTALL)
    known = {path: set(methods.split(", ")) for path, methods in re.findall(r'\["(.*?)"\] = "(.*?)"', table)}
    contract: dict[str, set[str]] = {}
    for _, method in RPCS:
        rule = method.options.Extensions[annotations_pb2.http]
        for one in (rule, *rule.additional_bindings):
            verb = one.WhichOneof("pattern")
            path = re.sub(r"\{\w+\}", "*", re.sub(r"\{\w+=(.*?)\}", r"\1", getattr(one, verb)))
            contract.setdefault(re.sub("^/api/", "/", path), set()).add(verb.upper())
    assert known == contract


def _rest_paths(method: Any) -> list[str]:
    rule = method.options.Extensions[annotations_pb2.http]
    return [one.get for one in (rule, *rule.additional_bindings)]


def _route(path: str, accept: str = "") -> dict[str, Any]:
    """The first route that Envoy takes a path by, as far as the path and `accept` decide."""
    for route in MANAGER["route_config"]["virtual_hosts"][0]["routes"]:
        match = route["match"]
        if "grpc" in match or any(one["name"] != "accept" for one in match.get("headers", ())):
            continue
        if "headers" in match and match["headers"][0]["string_match"]["contains"] not in accept:
            continue
        by_pattern = "safe_regex" in match and re.fullmatch(match["safe_regex"]["regex"], path)
        if by_pattern or path == match.get("path") or path.startswith(match.get("prefix", "\n")):
            return dict(route)
    raise AssertionError(f"no route for {path}")


@pytest.mark.parametrize(("path", "method"), RPCS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_rpc_for_callers_has_a_route_and_only_streams_have_no_deadline(path: str, method: Any) -> None:
    """Each RPC of the contract goes to the engine, and is transcoded; a stream is never cut, all else is in time."""
    route = _route(path)["route"]
    assert route["cluster"] == "engine"
    assert (route["timeout"] == "0s") == method.server_streaming
    assert path.split("/")[1] in FILTERS["grpc_json_transcoder"]["services"]


@pytest.mark.parametrize(
    "path", [path for _, method in RPCS if method.server_streaming for path in _rest_paths(method)]
)
def test_every_rest_stream_is_there_as_server_sent_events(path: str) -> None:
    """Whoever asks for text/event-stream gets the transcoder that writes events, and no deadline."""
    route = _route(path, "text/event-stream")
    transcoder = route["typed_per_filter_config"]["envoy.filters.http.grpc_json_transcoder"]
    assert transcoder["print_options"]["stream_sse_style_delimited"]
    assert route["route"]["timeout"] == "0s"


def test_render_puts_in_addresses() -> None:
    """Ports, host and endpoints land where Envoy reads them, TCP and unix sockets alike."""
    config = _rendered(host="::1")
    resources = config["static_resources"]
    addresses = {
        cluster["name"]: cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
        for cluster in resources["clusters"]
    }
    assert config["admin"]["address"] == {"socket_address": {"address": "::1", "port_value": 2}}
    assert resources["listeners"][0]["address"] == {"socket_address": {"address": "::1", "port_value": 1}}
    assert addresses == {
        "engine": {"pipe": {"path": "/run/engine.sock"}},
        "bridge": {"socket_address": {"address": "127.0.0.1", "port_value": 3}},
    }


def test_render_makes_paths_absolute() -> None:
    """Envoy finds the descriptor set and the script from any working directory."""
    config = _rendered(descriptor=Path("a.binpb"), lua=Path("b.lua"))
    descriptors = [part["proto_descriptor"] for part in _mappings(config) if "proto_descriptor" in part]
    scripts = [part["default_source_code"] for part in _mappings(config) if "default_source_code" in part]
    assert descriptors == [str(Path("a.binpb").absolute())] * 2
    assert scripts == [{"filename": str(Path("b.lua").absolute())}]


def test_render_leaves_the_rest_alone() -> None:
    """With the values that the file has already, nothing changes but the paths, which become absolute."""
    config = _rendered(
        rest_port=8080,
        admin_port=9901,
        engine=UnixEndpoint(Path("/data/engine.sock")),
        bridge=UnixEndpoint(Path("/data/bridge.sock")),
    )
    same = json.dumps(config).replace("/x/entasis.binpb", "gen/descriptor/entasis.binpb")
    same = same.replace('"/data/', '"entasis-data/')
    assert json.loads(same.replace("/x/rest.lua", "envoy/rest.lua")) == CONFIG


IDENTITY = Identity(Path("/certs/server.pem"), Path("/keys/server.key"))
UPSTREAM = UpstreamTls(Identity(Path("/up/edge.pem"), Path("/up/edge.key")), Path("/trusted/ca.pem"))


@pytest.mark.parametrize("hsts", [True, False])
def test_the_tls_listener_is_the_plain_one_by_tls(hsts: bool) -> None:
    """The two listeners differ in name, address, transport and HSTS; plaintext stays where it was."""
    config = _rendered(https=Https("0.0.0.0", 4, IDENTITY, hsts), secrets_dir=Path("/run"))
    plain, by_tls = config["static_resources"]["listeners"]
    assert plain == _rendered()["static_resources"]["listeners"][0]
    assert by_tls["address"] == {"socket_address": {"address": "0.0.0.0", "port_value": 4}}
    assert by_tls["filter_chains"][0].pop("transport_socket_connect_timeout") == "10s"
    transport = by_tls["filter_chains"][0].pop("transport_socket")["typed_config"]["common_tls_context"]
    assert transport["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_2"
    assert transport["alpn_protocols"] == ["h2", "http/1.1"]
    filters = by_tls["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    if hsts:
        assert "max-age=31536000" in json.dumps(filters.pop(0))
    assert "strict-transport-security" not in json.dumps(config)
    assert by_tls | {"name": plain["name"], "address": plain["address"]} == plain


def test_all_addresses_are_all_addresses() -> None:
    """`::` takes IPv4 callers as well, as it does on the engine's own port."""
    address = _rendered(https=Https("::", 4, IDENTITY))["static_resources"]["listeners"][1]["address"]
    assert address["socket_address"] == {"address": "::", "port_value": 4, "ipv4_compat": True}


def test_certificates_are_watched() -> None:
    """Every file of TLS comes by a watched folder, and the configuration names the file that says so."""
    engine = TcpEndpoint("engine.example.com", 50051, UPSTREAM)
    files = secrets(Https("127.0.0.1", 4, IDENTITY), engine)
    [server], [client], [authority] = (json.loads(text)["resources"] for text in files.values())
    assert server["tls_certificate"]["certificate_chain"] == {"filename": "/certs/server.pem"}
    assert server["tls_certificate"]["private_key"] == {"filename": "/keys/server.key"}
    assert server["tls_certificate"]["watched_directory"] == {"path": "/certs"}
    assert client["tls_certificate"]["watched_directory"] == {"path": "/up"}
    assert authority["validation_context"]["watched_directory"] == {"path": "/trusted"}
    config = _rendered(https=Https("127.0.0.1", 4, IDENTITY), engine=engine, secrets_dir=Path("/run"))
    named = {
        part["name"]: part["sds_config"]["path_config_source"]["path"]
        for part in _mappings(config)
        if "sds_config" in part
    }
    assert named == {one["name"]: f"/run/{file}" for one, file in zip((server, client, authority), files, strict=True)}
    assert secrets(None, UnixEndpoint(Path("/e"))) == {}


@pytest.mark.parametrize(
    ("host", "name", "kind", "sni", "cluster_type"),
    [
        ("engine.example.com", "", "DNS", "engine.example.com", "STRICT_DNS"),
        ("10.0.0.7", "", "IP_ADDRESS", None, "STATIC"),
        ("10.0.0.7", "engine.example.com", "DNS", "engine.example.com", "STATIC"),
    ],
)
def test_an_engine_elsewhere_must_prove_its_name(
    host: str, name: str, kind: str, sni: str | None, cluster_type: str
) -> None:
    """Envoy asks for the host that it calls, or for the name that is set, and takes no other."""
    upstream = UpstreamTls(UPSTREAM.identity, UPSTREAM.ca, name)
    clusters = _rendered(engine=TcpEndpoint(host, 50051, upstream))["static_resources"]["clusters"]
    engine, bridge = clusters
    assert engine["type"] == cluster_type
    context = engine["transport_socket"]["typed_config"]
    assert context.get("sni") == sni
    validation = context["common_tls_context"]["combined_validation_context"]["default_validation_context"]
    assert validation["match_typed_subject_alt_names"] == [{"san_type": kind, "matcher": {"exact": name or host}}]
    assert "transport_socket" not in bridge


async def test_an_engine_in_plaintext_is_refused(tmp_path: Path) -> None:
    """Envoy does not start in front of an engine that could not believe it."""
    opening = open_edge(
        Settings(_env_file=None),  # type: ignore[call-arg]
        engine=TcpEndpoint("127.0.0.1", 50051),
        bridge=UnixEndpoint(tmp_path / "b"),
        run_dir=tmp_path,
        log_path=tmp_path / "log",
    )
    with pytest.raises(EdgeError, match="could not believe"):
        await opening.__aenter__()


def test_a_port_in_use_is_named() -> None:
    """The message names the address and the settings that choose another."""
    log = (
        "[2026-01-01 00:00:00.000][7][error][config] [source/x.cc:1405] listener 'edge' failed to bind\n"
        "[2026-01-01 00:00:00.000][7][critical][main] [a.cc:1] error `cannot bind '127.0.0.1:8080': Address already "
        "in use` initializing config\ncannot bind '127.0.0.1:8080': Address already in use\n"
    )
    text = explain(log, 1)
    assert "127.0.0.1:8080 is in use" in text
    assert "ENTASIS_REST_PORT" in text
    assert text.endswith("Envoy says: error `cannot bind '127.0.0.1:8080': Address already in use` initializing config")


def test_a_killed_envoy_is_told_from_a_failing_one() -> None:
    """A signal is named; an exit code comes with the line that gives the cause."""
    assert "ended by SIGKILL" in explain("", -9)
    assert explain("[1][2][critical][main] [a.cc:1] no such field: 'x'\nbye\n", 1).endswith("no such field: 'x'")


def _mappings(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        return [node, *(found for value in node.values() for found in _mappings(value))]
    return [found for value in node for found in _mappings(value)] if isinstance(node, list) else []
