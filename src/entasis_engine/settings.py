"""Every setting, with its default and its limits. Read once at start, from `ENTASIS_*` variables or a `.env` file."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, PositiveFloat, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from entasis_engine.addresses import AddressList

JWT_SECRET_BYTES_MIN = 32
"""As long as the hash of HS256 (RFC 7518, section 3.2)."""
KEY_VARIABLE = "ENTASIS_KEY"
NOT_OURS = frozenset({KEY_VARIABLE, "ENTASIS_ADDRESS", "ENTASIS_CA_FILE", "ENTASIS_TEST_DATA"})
"""Names of variables that commands, clients and tests read, and the engine does not."""
"""Where `entasis watch` finds an API key. No setting, since nothing that serves reads it."""

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", re.IGNORECASE)
PAPER_AMOUNT = re.compile(r"[A-Z0-9]{1,20}:[0-9]{1,15}(\.[0-9]{1,8})?")
RateLimit = Annotated[int, Field(ge=1, le=2**31 - 1)]  # as the contract's int32 can say it
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """What can be set. Names in the environment are these in capitals, with `ENTASIS_` before them."""

    model_config = SettingsConfigDict(
        env_prefix="ENTASIS_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # Where things are kept.
    data_dir: Path = Field(
        Path("entasis-data"), description="Folder of databases, models, sockets and logs; made where it is missing."
    )
    database_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy URL of the database. Empty: SQLite in the data folder.",
        examples=["sqlite+aiosqlite:///x.db"],
    )
    ledger_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy URL of the ledger: positions and balances. Empty: SQLite in the data folder. On "
        "PostgreSQL, several engines may share it.",
        examples=["postgresql+asyncpg://user:password@host/entasis"],
    )

    # Where servers listen. Plaintext is for loopback: beyond it there are Envoy's TLS port and the engine's gRPC port.
    host: str = Field(
        "127.0.0.1",
        description="IP address that `https_port` and `grpc_port` listen at; `0.0.0.0` and `::` are all. Other than "
        "loopback it needs TLS. All other ports stay on loopback.",
    )
    rest_port: Port = Field(8080, description="Envoy: REST, gRPC, gRPC-Web and /ws/market in plaintext.")
    https_port: Port = Field(8443, description="Envoy: the same by TLS, where `tls_certificate` is set.")
    envoy_admin_port: Port = Field(9901, description="Envoy's own administration page.")
    grpc_port: Port = Field(50051, description="The engine's gRPC port, with TLS where `tls_certificate` is set.")
    websocket_port: Port | None = Field(
        None, description="A port for a bridge alone (`entasis serve bridge`) in place of its unix socket."
    )
    metrics_port: Port = Field(9464, description="Prometheus metrics of the engine, and of the bridge beside it.")
    bridge_metrics_port: Port = Field(
        9465, description="Prometheus metrics of a bridge alone (`entasis serve bridge`)."
    )

    # Who is who. All are PEM files.
    tls_certificate: Path | None = Field(
        None,
        description="The server's certificate, and those up to its authority. Read again when it changes.",
    )
    tls_key: Path | None = Field(None, description="Private key of `tls_certificate`.")
    tls_client_ca: Path | None = Field(
        None, description="Authorities of callers: with it the engine's gRPC port demands a certificate of theirs."
    )
    tls_edge_names: Annotated[tuple[str, ...], NoDecode] = Field(
        ("edge.entasis.internal", "bridge.entasis.internal"),
        description="Names in certificates of Envoy and bridges on other hosts, separated by commas: what they state "
        "of their callers' addresses is believed.",
    )
    upstream_ca: Path | None = Field(
        None, description="For Envoy and bridge, to an engine on another host: authorities of the engine's certificate."
    )
    upstream_certificate: Path | None = Field(None, description="The certificate that they show to that engine.")
    upstream_key: Path | None = Field(None, description="Private key of `upstream_certificate`.")
    upstream_name: str = Field(
        "", description="Name that the engine's certificate must have. Empty: the host that is called."
    )

    # Where market data comes from.
    feed: Literal["simulated", "recorded", "live"] = Field("simulated", description="Source of market data.")
    symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Instruments to serve, separated by commas. Empty: all the feed has (live: BTC-USDT, ETH-USDT)."
    )
    stale_after_seconds: PositiveFloat = Field(
        15.0, description="Without a sign from the exchange for longer than this, a price is MARKET_002."
    )
    simulated_seed: int = Field(7, description="The simulated exchange repeats itself exactly for the same seed.")
    simulated_speed: PositiveFloat = Field(1.0, description="How much faster than the clock the simulated market runs.")
    simulated_origin: AwareDatetime | None = Field(
        None, description="With a speed other than 1: when market time begins to run faster. Empty: at the start."
    )
    recorded_frames: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Files of raw exchange frames, in order, separated by commas."
    )
    recorded_candles: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Candle files named SYMBOL-INTERVAL-*.csv[.gz], separated by commas."
    )
    recorded_speed: float = Field(1.0, ge=0, description="Speed of the replay; 0 is as fast as possible.")
    live_exchange: str = Field("binance", description="A ccxt exchange id.")

    # Who may call what.
    demo_account: bool = Field(True, description="Make an account `demo` with a key on the first `entasis up`.")
    market_streams_public: bool = Field(
        True,
        description="Serve market streams, WebSockets and the list of instruments to callers without credentials, too.",
    )
    allowed_addresses: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses that may call at all: IPv4 and IPv6 networks, separated by commas. Empty: any.",
        examples=["10.0.0.0/8,2001:db8::/32"],
    )
    rate_limit_per_minute: RateLimit = Field(
        1000, description="Requests of one account in any 60 seconds, where neither it nor the key has its own limit."
    )
    anonymous_rate_limit_per_minute: RateLimit = Field(
        1000, description="Requests without a valid credential from one address in any 60 seconds."
    )
    token_seconds: PositiveInt = Field(
        900, description="Longest life of a token that `POST /api/v1/auth/token` gives, and the usual one."
    )
    jwt_secret: SecretStr = Field(
        SecretStr(""),
        description="Signs tokens by HS256; 32 bytes at least. Empty: a random one, kept in the data folder.",
    )
    jwt_issuer: str = Field("entasis", min_length=1, description="`iss` of tokens: ours, and those of the JWKS file.")
    jwt_audience: str = Field("entasis", min_length=1, description="`aud` of tokens: ours, and those of the JWKS file.")
    jwt_jwks_file: Path | None = Field(
        None,
        description="Public keys (JWKS, RFC 7517) of another issuer of tokens: RS256, ES256 or EdDSA, each with `kid` "
        "and `alg`. Read again when it changes.",
    )
    websocket_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins whose pages may open WebSockets, separated by commas. Empty: any. Clients that are no "
        "browsers send none and are not asked.",
        examples=["https://desk.example.com"],
    )
    websocket_auth_seconds: PositiveFloat = Field(
        10.0, description="Where market streams are not public: how long a WebSocket may stay without credentials."
    )

    # The portfolio.
    paper_balance: Annotated[tuple[str, ...], NoDecode] = Field(
        ("USDT:100000",),
        description="Paper money that each account begins with: CURRENCY:AMOUNT, separated by commas. Empty: none.",
        examples=["USDT:100000,BTC:1"],
    )
    fee_rate: Decimal = Field(
        Decimal("0.0005"), ge=0, lt=1, description="Fee for opening and for closing, as a share of the notional."
    )
    maintenance_margin_rate: Decimal = Field(
        Decimal("0.005"),
        gt=0,
        le=Decimal("0.01"),
        description="Maintenance margin, as a share of the entry notional: a position that has less is liquidated.",
    )
    positions_max: PositiveInt = Field(100, description="Open positions of one account.")
    notional_max: Decimal = Field(
        Decimal(10_000_000), gt=0, description="Notional of one account's open positions, in each quote currency."
    )

    # Analysis.
    hourly_history_days: PositiveInt = Field(
        1095, description="How far back hourly candles are fetched at a start: what models learn from."
    )
    training: Literal["auto", "off"] = Field(
        "auto",
        description="auto: models are trained when there are none, and again when they are old, in a process of its "
        "own. off: only by `entasis train`.",
    )
    retrain_hours: PositiveFloat = Field(
        168.0, description="Where the models of a timeframe are older than this, all are trained anew."
    )
    models_poll_seconds: PositiveFloat = Field(
        30.0, description="How often the engine looks for models that `entasis train`, or another engine, has made."
    )
    training_seconds_max: PositiveFloat = Field(1800.0, description="Longest a training may take.")

    # Bounds.
    request_deadline_seconds: PositiveFloat = Field(10.0, description="Longest a unary call may take.")
    streams_per_caller_max: PositiveInt = Field(
        100, description="Open gRPC and REST streams of one account, or of one address without credentials."
    )
    stream_queue_max: PositiveInt = Field(
        1024, description="Updates kept for a gRPC reader before only the newest are."
    )
    notice_seconds: float = Field(
        2.5,
        ge=0,
        description="How long an engine alone (`entasis serve engine`) goes on serving after it has said NOT_SERVING, "
        "so that an Envoy in front hears it first.",
    )
    drain_seconds: float = Field(3.0, ge=0, description="How long calls in flight may take to end on shutdown.")
    websocket_clients_max: PositiveInt = Field(5000, description="Open WebSockets; one more is refused.")
    websocket_clients_per_address_max: PositiveInt = Field(
        2000, description="Open WebSockets of one address; one more is refused."
    )
    websocket_subscriptions_max: PositiveInt = Field(512, description="Subscriptions of one WebSocket.")
    websocket_frame_bytes_max: PositiveInt = Field(16_384, description="Largest frame a WebSocket client may send.")
    websocket_buffer_bytes_max: PositiveInt = Field(
        262_144, description="Unsent bytes of one WebSocket before only the newest value per stream is kept for it."
    )
    websocket_flush_seconds: float = Field(
        0.005, ge=0, description="Messages of one WebSocket within this time leave in one write."
    )

    # What is told.
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least important line logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: colours on a terminal, else JSON."
    )
    access_log: Literal["failures", "all"] = Field(
        "failures", description="Calls logged at info: failed ones, or all; every call is in the metrics."
    )

    @field_validator(
        "symbols",
        "recorded_frames",
        "recorded_candles",
        "allowed_addresses",
        "websocket_origins",
        "tls_edge_names",
        "paper_balance",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator(
        "tls_certificate",
        "tls_key",
        "tls_client_ca",
        "upstream_ca",
        "upstream_certificate",
        "upstream_key",
        "websocket_port",
        mode="before",
    )
    @classmethod
    def _absent(cls, value: object) -> object:
        return None if value == "" else value  # an empty path would be the working directory

    @field_validator("host")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))

    @property
    def loopback(self) -> str:
        """Where plaintext listens, whatever `host` is."""
        return self.host if ipaddress.ip_address(self.host).is_loopback else "127.0.0.1"

    @property
    def engine_socket(self) -> Path:
        """Where an engine alone serves Envoy and bridge beside it."""
        return self.data_dir / "engine.sock"

    @property
    def bridge_socket(self) -> Path:
        """Where a bridge alone serves Envoy beside it."""
        return self.data_dir / "bridge.sock"

    @field_validator("allowed_addresses")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        AddressList(value)  # raises ValueError, which says what is wrong
        return value

    @field_validator("paper_balance")
    @classmethod
    def _are_amounts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not PAPER_AMOUNT.fullmatch(entry):
                raise ValueError(f"'{entry}' is no amount such as USDT:100000: a currency, a colon, at most 8 decimals")
        if len({entry.partition(":")[0] for entry in value}) < len(value):
            raise ValueError("names a currency twice")
        return value

    @field_validator("websocket_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "null" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"'{origin}' is no origin: it must be like https://desk.example.com, port included")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value().encode()) < JWT_SECRET_BYTES_MIN:
            raise ValueError(f"must have {JWT_SECRET_BYTES_MIN} bytes or more; `openssl rand -hex 32` makes one")
        return value

    @property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'entasis.db'}"

    @property
    def resolved_ledger_url(self) -> str:
        return self.ledger_url or f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'ledger.db'}"

    @property
    def paper_amounts(self) -> dict[str, Decimal]:
        """The paper money that each account begins with, by currency."""
        return {currency: Decimal(amount) for currency, _, amount in (one.partition(":") for one in self.paper_balance)}

    @property
    def access_path(self) -> Path:
        """The file of accounts and keys."""
        return self.data_dir / "access.db"

    @property
    def models_path(self) -> Path:
        """The folder of trained models."""
        return self.data_dir / "models"

    @property
    def audit_path(self) -> Path:
        """The folder of the audit log."""
        return self.data_dir / "audit"

    @property
    def jwt_secret_path(self) -> Path:
        """The file of the random secret that signs tokens."""
        return self.data_dir / "jwt-secret"


def misspelt(given: Iterable[str]) -> dict[str, str]:
    """The names among `given` that look like settings and are none, each with the nearest one that there is."""
    known = {f"ENTASIS_{name.upper()}" for name in Settings.model_fields}
    strange = {name.upper() for name in given if name.upper().startswith("ENTASIS_")} - known - NOT_OURS
    return {name: difflib.get_close_matches(name, known, n=1, cutoff=0)[0] for name in sorted(strange)}
