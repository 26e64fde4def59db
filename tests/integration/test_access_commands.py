"""`entasis accounts` and `entasis keys`, as people and scripts use them."""

from __future__ import annotations

import io
import json
import os
import pwd
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from entasis_engine.access.directory import ApiKey, Directory
from entasis_engine.access.store import AccessStore
from entasis_engine.commands import access
from entasis_engine.errors import EntasisError

app = typer.Typer()
app.add_typer(access.accounts, name="accounts")
app.add_typer(access.keys, name="keys")


class Desk:
    """A data folder and a command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [*arguments, "--data-dir", str(self.folder)])
        assert result.exit_code == code, result.output
        return result

    def key(self, *arguments: str) -> str:
        """A new key's text: all of standard output."""
        out = self.run("keys", "create", *arguments).stdout
        assert out.count("\n") == 1
        return out.strip()

    def directory(self) -> Directory:
        store = AccessStore(self.folder / "access.db")
        try:
            return store.load()
        finally:
            store.close()

    def found(self, text: str) -> ApiKey:
        return self.directory().authenticate(text, datetime.now(UTC))

    def ended(self, text: str) -> bool:
        try:
            self.found(text)
        except EntasisError as error:
            return error.case == "KEY_ENDED"
        return False

    def changes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "audit" / "changes.jsonl").read_text().splitlines()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A data folder with an account `desk`."""
    made = Desk(tmp_path / "data")
    made.run("accounts", "create", "desk")
    return made


def test_an_account_is_made_shown_and_closed(tmp_path: Path) -> None:
    """The first account makes the store; the list shows limit, live keys and state; closing ends the keys."""
    one = Desk(tmp_path / "data")
    made = one.run("accounts", "create", "desk", "--limit", "5000")
    assert made.stdout == ""
    assert str(one.folder / "access.db") in made.stderr
    text = one.key("desk")
    assert "5000/min" in one.run("accounts", "list").stdout
    (listed,) = json.loads(one.run("accounts", "list", "--json").stdout)
    assert (listed["name"], listed["rate_limit"], listed["live_keys"], listed["closed_at"]) == ("desk", 5000, 1, None)
    assert "is closed" in one.run("accounts", "close", "desk").stderr
    assert "is closed already" in one.run("accounts", "close", "desk").stderr
    assert one.ended(text)
    (listed,) = json.loads(one.run("accounts", "list", "--json").stdout)
    assert listed["closed_at"].endswith("Z")
    assert listed["live_keys"] == 0
    assert "account closed" in one.run("keys", "list", "--all").stdout
    assert [change["action"] for change in one.changes()] == ["account.created", "key.created", "account.closed"]


def test_a_new_key_is_all_of_standard_output(desk: Desk) -> None:
    """A script can capture the key; what a person should know goes to standard error, without the key."""
    result = desk.run("keys", "create", "desk")
    text = result.stdout.strip()
    key = desk.found(text)
    assert (key.scopes, key.expires_at, key.addresses, key.rate_limit) == ({"market:read"}, None, (), None)
    assert "shown this once" in result.stderr
    assert f"ek_{key.id}" in result.stderr
    assert text.split("_")[2] not in result.stderr


def test_a_key_has_what_was_asked_for(desk: Desk) -> None:
    """Scopes, expiry, addresses, limit and label are those of the command line, in the list, too."""
    text = desk.key(
        *("desk", "--scopes", "market:read, portfolio:write", "--expires", "90d", "--label", "for [bold] the bot"),
        *("--address", "10.0.0.0/8", "--address", "2001:db8::/32", "--limit", "7"),
    )
    key = desk.found(text)
    assert key.scopes == {"market:read", "portfolio:write"}
    assert (key.addresses, key.rate_limit) == (("10.0.0.0/8", "2001:db8::/32"), 7)
    assert key.expires_at == key.created_at + timedelta(days=90)
    table = desk.run("keys", "list", "desk").stdout
    for told in (
        *(f"ek_{key.id}", "for [bold] the bot", "portfolio:write", "10.0.0.0/8", "2001:db8::/32", "7/min"),
        "expires in 90 days",
    ):
        assert told in table


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("2999-12-31", datetime(2999, 12, 31, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_a_span_or_a_date(desk: Desk, given: str, expected: timedelta | datetime) -> None:
    """A span counts from now; a date is its beginning in UTC."""
    key = desk.found(desk.key("desk", "--expires", given))
    assert key.expires_at == (expected if isinstance(expected, datetime) else key.created_at + expected)


@pytest.mark.parametrize("given", ["", "soon", "12", "-1d", "1y", "999999999d", "2026-13-01", "١d"])
def test_other_expiries_are_wrong_usage(desk: Desk, given: str) -> None:
    """What is neither is refused as wrong usage, with the forms there are."""
    result = desk.run("keys", "create", "desk", f"--expires={given}", code=2)
    assert "90d, 12h, 30m" in result.stderr
    assert result.stdout == ""
    assert desk.directory().keys == ()


def test_rotation_hands_over(desk: Desk) -> None:
    """The new key is all of standard output; the old one works until the overlap is over, and the list says both."""
    old_text = desk.key("desk", "--label", "bot")
    old = desk.found(old_text)
    result = desk.run("keys", "rotate", f"ek_{old.id}", "--overlap", "2h")
    text = result.stdout.strip()
    new = desk.found(text)
    assert (new.scopes, new.label) == (old.scopes, "bot")
    kept = desk.found(old_text)
    assert (kept.replaced_by, kept.expires_at) == (new.id, new.created_at + timedelta(hours=2))
    assert text.split("_")[2] not in result.stderr
    assert "ends in 2 h" in desk.run("keys", "list").stdout
    ended, made = desk.changes()[-2:]
    assert (ended["action"], ended["key_id"], ended["detail"]["replaced_by"]) == ("key.rotated", old.id, new.id)
    assert (made["action"], made["key_id"], made["detail"]["replaces"]) == ("key.created", new.id, old.id)


def test_rotation_can_end_the_old_key_at_once(desk: Desk) -> None:
    """With --overlap 0 only the new key works; the old one is listed with --all alone."""
    old_text = desk.key("desk")
    old = desk.found(old_text)
    new = desk.found(desk.run("keys", "rotate", old.id, "--overlap", "0").stdout.strip())
    assert desk.ended(old_text)
    assert f"ek_{old.id}" not in desk.run("keys", "list").stdout
    assert f"replaced by ek_{new.id}" in desk.run("keys", "list", "--all").stdout
    assert "was replaced by" in desk.run("keys", "rotate", old.id, code=1).stderr


def test_a_wrong_overlap_is_wrong_usage(desk: Desk) -> None:
    """An overlap that is no span is refused with the forms there are, and nothing happens."""
    key = desk.found(desk.key("desk"))
    for given in ("1", "x", "", "-1h"):
        assert "24h, 7d, 30m or 0" in desk.run("keys", "rotate", key.id, f"--overlap={given}", code=2).stderr
    assert desk.directory().keys == (key,)


@pytest.mark.parametrize("form", ["{id}", "ek_{id}", "{text}"])
def test_a_key_is_revoked_by_id_or_text(desk: Desk, form: str) -> None:
    """Id, shown form and whole text name a key; the secret is not repeated; again it is revoked already."""
    text = desk.key("desk")
    key = desk.found(text)
    named = form.format(id=key.id, text=text)
    first = desk.run("keys", "revoke", named)
    again = desk.run("keys", "revoke", named)
    assert desk.ended(text)
    assert f"ek_{key.id} is revoked;" in first.stderr
    assert "is revoked already" in again.stderr
    assert text.split("_")[2] not in first.output + again.output
    assert [change["action"] for change in desk.changes()].count("key.revoked") == 1
    assert "revoked 20" in desk.run("keys", "list", "--all").stdout


def test_lists_are_for_scripts_too(desk: Desk) -> None:
    """JSON has every field of the keys that were asked for, and no digest."""
    desk.run("accounts", "create", "other")
    text, ended = desk.key("desk", "--label", "가"), desk.key("desk")
    desk.key("other")
    desk.run("keys", "revoke", ended)
    key = desk.found(text)
    (listed,) = json.loads(desk.run("keys", "list", "desk", "--json").stdout)
    assert listed == {
        "id": f"ek_{key.id}",
        "account": "desk",
        "label": "가",
        "scopes": ["market:read"],
        "addresses": [],
        "rate_limit": None,
        "created_at": listed["created_at"],
        "expires_at": None,
        "revoked_at": None,
        "replaced_by": None,
        "state": "live",
    }
    everything = json.loads(desk.run("keys", "list", "--all", "--json").stdout)
    assert [one["state"] for one in everything] == ["live", "revoked", "live"]


def test_empty_lists_say_what_to_do(desk: Desk) -> None:
    """Where there is nothing to show, standard output is empty, or an empty list; the person is told what to do."""
    result = desk.run("keys", "list")
    assert (result.stdout, "entasis keys create" in result.stderr) == ("", True)
    assert json.loads(desk.run("keys", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["accounts", "create", "Desk"], "1 to 64 characters: a-z, 0-9 and -"),
        (["accounts", "create", "desk"], "'desk' is taken"),
        (["accounts", "create", "new", "--limit", "0"], "1 to 2147483647"),
        (["accounts", "close", "nobody"], "There are: desk."),
        (["keys", "create", "nobody"], "There are: desk."),
        (["keys", "list", "nobody"], "There are: desk."),
        (["keys", "create", "desk", "--scopes", "root"], "Unknown scope 'root'. There are: market:read,"),
        (["keys", "create", "desk", "--address", "10.0.0.1/8"], "host bits"),
        (["keys", "create", "desk", "--expires", "2020-01-01"], "not in the future"),
        (["keys", "revoke", "nonsense"], "This is no key's id"),
        (["keys", "rotate", "ek_abcdefghijkl"], "There is no key ek_abcdefghijkl."),
    ],
)
def test_errors_are_one_line(desk: Desk, arguments: list[str], told: str) -> None:
    """What cannot be done is one line that says why and what to do, exit code 1, and nothing on standard output."""
    result = desk.run(*arguments, code=1)
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert [change["action"] for change in desk.changes()] == ["account.created"]


@pytest.mark.parametrize("command", [["accounts", "close"], ["keys", "create"], ["keys", "list"], ["keys", "revoke"]])
def test_a_key_in_the_wrong_place_is_not_repeated(desk: Desk, command: list[str]) -> None:
    """Whoever pastes a key where a name belongs does not see its secret in an error."""
    text = desk.key("desk")
    garbled = text[:10] + "-" + text[10:]
    for given in (text, garbled):
        if command[-1] != "revoke" or given == garbled:
            result = desk.run(*command, given, code=1)
            assert text.split("_")[2][:8] not in result.output


@pytest.mark.parametrize("command", [["accounts", "list"], ["keys", "list"], ["keys", "revoke", "abcdefghijkl"]])
def test_a_mistyped_folder_is_told(tmp_path: Path, command: list[str]) -> None:
    """Where there is no store only `accounts create` makes one; the others say how to name the right folder."""
    result = Desk(tmp_path / "nowhere").run(*command, code=1)
    assert "--data-dir or ENTASIS_DATA_DIR" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """Where the system refuses the folder itself, each command says so in one line."""
    for command in (["accounts", "list"], ["accounts", "create", "desk"]):
        result = Desk(tmp_path / ("x" * 300)).run(*command, code=1)
        assert "File name too long" in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_wrong_setting_is_told_by_its_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that makes no sense is named, without its value, with exit code 2."""
    monkeypatch.setenv("ENTASIS_TOKEN_SECONDS", "xyzzy")
    result = desk.run("keys", "list", code=2)
    assert "ENTASIS_TOKEN_SECONDS" in result.stderr
    assert "xyzzy" not in result.stderr


def test_the_folder_may_come_from_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --data-dir the folder is that of the settings."""
    monkeypatch.setenv("ENTASIS_DATA_DIR", str(desk.folder))
    result = CliRunner().invoke(app, ["accounts", "list", "--json"])
    assert [one["name"] for one in json.loads(result.stdout)] == ["desk"]


def test_changes_say_who_made_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit log has the user of the operating system, whatever the environment says."""
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    desk.key("desk", "--label", "bot")
    assert {change["by"] for change in desk.changes()} == {pwd.getpwuid(os.getuid()).pw_name}
    assert desk.changes()[-1]["detail"]["label"] == "bot"


def test_no_secret_is_left_anywhere(desk: Desk) -> None:
    """After every command neither a file nor any output but the one that gave the key has a piece of a secret."""
    text = desk.key("desk")
    outputs = [
        desk.run("accounts", "list").output,
        desk.run("keys", "list", "--all").output,
        desk.run("keys", "list", "--all", "--json").output,
    ]
    rotated = desk.run("keys", "rotate", text)
    new = rotated.stdout.strip()
    outputs += [rotated.stderr, desk.run("keys", "revoke", new).output, desk.run("keys", "list", "--all").output]
    written = b"".join(path.read_bytes() for path in desk.folder.rglob("*") if path.is_file())
    everything = written + "".join(outputs).encode()
    for secret in (text.split("_")[2], new.split("_")[2]):
        assert not any(secret[at : at + 6].encode() in everything for at in range(len(secret) - 5))


def test_a_key_that_could_not_be_shown_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard output is full, the person learns which key to revoke."""

    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    told = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", told)
    with pytest.raises(typer.Exit) as raised:
        access.create_key("desk", data_dir=desk.folder)
    assert raised.value.exit_code == 1
    (key,) = desk.directory().keys
    assert f"entasis keys revoke ek_{key.id}" in told.getvalue()


@pytest.mark.parametrize("command", ["accounts", "keys"])
def test_every_command_teaches(command: str) -> None:
    """The help of each command has an example."""
    group = getattr(access, command)
    names = [one.name for one in group.registered_commands]
    assert names[:2] == ["create", "list"]
    for name in names:
        result = CliRunner().invoke(app, [command, name, "--help"])
        assert result.exit_code == 0
        assert f"entasis {command} {name}" in " ".join(result.output.split())


def test_help_is_quick() -> None:
    """Asking for help loads neither the database nor the contract."""
    script = "import sys, entasis_engine.commands.access; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"sqlmodel", "sqlalchemy", "google.protobuf", "grpc", "pydantic"} & set(done.stdout.split())
