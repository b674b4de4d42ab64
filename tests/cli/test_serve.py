"""`limner serve` and `limner keys`: what is wrong is said in a line, and a key is shown once and kept as a hash."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from limner.cli.main import main
from limner.engine import precision
from limner.serve.ledger import Keys, Ledger


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The one line that a command is refused with."""
    assert main(list(command)) == 2
    said = capsys.readouterr().err
    assert said.startswith("limner: ")
    assert said.count("\n") == 1
    return said


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_models_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert 'did you mean "flow-scenes"' in refused(capsys, "serve", "flow-scene", "--port", "0")
    assert "draws no pictures" in refused(capsys, "serve", "clip-scenes", "--port", "0")
    assert "two models" in refused(capsys, "serve", "flow-scenes", "flow-scenes", "--port", "0")


def test_how_to_draw(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Said when it begins, and not with the first picture."""
    assert 'precision = "bf17" is not one of auto' in refused(capsys, "serve", "--precision", "bf17", "--port", "0")
    assert "compile" in refused(capsys, "serve", "--compile", "maybe", "--port", "0")
    monkeypatch.setattr(precision, "can_compute", lambda wanted, device: wanted != "fp16")
    assert "not for this processor" in refused(capsys, "serve", "--precision", "fp16", "--port", "0")


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in refused(capsys, "serve", "--port", str(taken.getsockname()[1]))


def test_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot listen" in refused(capsys, "serve", "--host", "192.0.2.1", "--port", "0")
    assert "every address" in refused(capsys, "serve", "--host", "0.0.0.0", "--port", "0")
    said = refused(capsys, "serve", "--host", "0.0.0.0", "--name", "limner", "--port", "0")
    assert "there is no key; limner keys add NAME makes one" in said


def test_a_revoked_key_opens_nothing_to_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "add", "somebody"]) == 0
    assert main(["keys", "revoke", "somebody"]) == 0
    capsys.readouterr()
    assert "there is no key" in refused(capsys, "serve", "--host", "0.0.0.0", "--name", "limner", "--port", "0")


def test_ledgers_that_are_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "studio").mkdir()
    with closing(sqlite3.connect(here / "studio" / "ledger.sqlite")) as other:
        other.execute("CREATE TABLE something (a)")
    assert "no ledger of Limner's" in refused(capsys, "serve", "--port", "0")
    assert "cannot be used" in refused(
        capsys, "serve", "--port", "0", "--ledger", "postgresql://nobody:hush@127.0.0.1:1/nothing"
    )
    said = refused(capsys, "serve", "--port", "0", "--ledger", "mysql://somebody:hush@host/name")
    assert "hush" not in said
    assert "postgresql" in said


def test_a_second_server_on_the_same_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "studio").mkdir()
    with closing(Ledger.open(here / "studio" / "ledger.sqlite")):
        assert "in use by another server" in refused(capsys, "serve", "--port", "0")


def test_a_folder_that_is_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "studio").write_text("hello")
    assert main(["serve", "--port", "0"]) in (1, 2)
    assert capsys.readouterr().err.count("\n") == 1


def test_keys(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "add", "somebody", "--rate", "30", "--quota", "1000"]) == 0
    secret = capsys.readouterr().out.strip()
    assert secret.startswith("lim_")
    with closing(Keys.open(here / "studio" / "ledger.sqlite")) as keys:
        assert keys.find(secret) is not None
    for file in (here / "studio").iterdir():
        assert secret.encode() not in file.read_bytes()
    assert main(["keys", "list"]) == 0
    told = capsys.readouterr().out
    assert "somebody: since" in told
    assert "30 a minute, 1000 a day" in told
    assert secret not in told
    assert main(["keys", "revoke", "somebody"]) == 0
    capsys.readouterr()
    assert main(["keys", "list"]) == 0
    assert "revoked" in capsys.readouterr().out
    with closing(Keys.open(here / "studio" / "ledger.sqlite")) as keys:
        assert keys.find(secret) is None


def test_keys_are_looked_for_where_a_service_has_been(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list"], ["revoke", "somebody"]):
        assert "give the service's folder by --data" in refused(capsys, "keys", *command, "--data", "elsewhere")
    assert not (here / "elsewhere").exists()
    (here / "studio").mkdir()
    Keys.open(here / "studio" / "ledger.sqlite").close()
    assert main(["keys", "list"]) == 0
    assert "limner keys add NAME" in capsys.readouterr().out


def test_keys_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "add", "somebody"]) == 0
    capsys.readouterr()
    assert "already" in refused(capsys, "keys", "add", "somebody")
    assert "no name" in refused(capsys, "keys", "add", " ")
    assert 'did you mean "somebody"' in refused(capsys, "keys", "revoke", "somebod")
    assert "rate" in refused(capsys, "keys", "add", "other", "--rate", "0")
