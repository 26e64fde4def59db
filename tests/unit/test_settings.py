"""Settings: defaults that need nothing, names in the environment, and limits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from entasis_engine.settings import Settings


def _settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


def test_the_defaults_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any setting the market is simulated and everything listens on loopback."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ENTASIS_{name.upper()}", raising=False)
    settings = _settings()
    assert (settings.feed, settings.host) == ("simulated", "127.0.0.1")
    assert settings.symbols == ()
    assert settings.resolved_database_url.endswith("/entasis-data/entasis.db")


def test_names_in_the_environment_have_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENTASIS_NAME sets name; lists are separated by commas, and spaces and empty parts do not matter."""
    monkeypatch.setenv("ENTASIS_SYMBOLS", "BTC-USDT, ETH-USDT,")
    monkeypatch.setenv("ENTASIS_RECORDED_FRAMES", "/a/b.gz,/c d.gz")
    monkeypatch.setenv("ENTASIS_SIMULATED_ORIGIN", "2024-03-21T12:00:00Z")
    monkeypatch.setenv("ENTASIS_GRPC_PORT", "0")
    settings = _settings()
    assert settings.symbols == ("BTC-USDT", "ETH-USDT")
    assert settings.recorded_frames == (Path("/a/b.gz"), Path("/c d.gz"))
    assert settings.simulated_origin == datetime(2024, 3, 21, 12, tzinfo=UTC)
    assert settings.grpc_port == 0


def test_a_file_may_hold_them(tmp_path: Path) -> None:
    """A .env file sets what the environment does not."""
    file = tmp_path / ".env"
    file.write_text("ENTASIS_FEED=recorded\nENTASIS_SOMETHING_ELSE=1\n", encoding="utf-8")
    assert Settings(_env_file=file).feed == "recorded"  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "localhost"),
        ("host", "127.0.0.1:8080"),
        ("https_port", 65536),
        ("feed", "imagined"),
        ("grpc_port", -1),
        ("grpc_port", 65536),
        ("stale_after_seconds", 0),
        ("simulated_speed", 0),
        ("simulated_origin", "2024-03-21T12:00:00"),
        ("recorded_speed", -1),
        ("request_deadline_seconds", 0),
        ("stream_queue_max", 0),
        ("drain_seconds", -1),
        ("websocket_clients_max", 0),
        ("log_level", "loud"),
    ],
)
def test_what_cannot_be_is_refused(name: str, value: object) -> None:
    """A value outside its limits is refused by name."""
    with pytest.raises(ValidationError) as refused:
        _settings(**{name: value})
    assert [fault["loc"][0] for fault in refused.value.errors()] == [name]


def test_settings_do_not_change() -> None:
    """Settings are read once and stay as they are."""
    with pytest.raises(ValidationError):
        _settings().grpc_port = 1


def test_a_database_of_ones_own_wins(tmp_path: Path) -> None:
    """The database is the one that is set, or a file in the data folder, named absolutely."""
    assert _settings(database_url="sqlite+aiosqlite:////x.db").resolved_database_url == "sqlite+aiosqlite:////x.db"
    assert _settings(data_dir=tmp_path).resolved_database_url == f"sqlite+aiosqlite:///{tmp_path}/entasis.db"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    """Each setting says what it is for."""
    assert Settings.model_fields[name].description
