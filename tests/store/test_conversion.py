"""limner convert's process: what it may not do, and that a file is there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from limner.core import InputError
from limner.store import conversion
from limner.store.conversion import convert

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
SANDBOX = Path(conversion.__file__).with_name("confining.py")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have not these limits")


class Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def confined(body: str) -> str:
    """What a process prints that runs `body` with the module's functions, for which it needs no torch."""
    code = f"import sys; sys.path.insert(0, {str(SANDBOX.parent)!r})\nfrom confining import *\n{body}"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or done.stderr


def test_tensors_go_over_and_all_is_said(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "epoch": 3}, tmp_path / "old.ckpt")
    done = convert(tmp_path / "old.ckpt", tmp_path / "new.safetensors")
    found = load_file(tmp_path / "new.safetensors")
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], one) for name, one in WEIGHTS.items())
    assert (done.tensors, done.dtypes, done.dropped) == (2, {"float32": 1, "bfloat16": 1}, {"epoch": 1})
    data = (tmp_path / "new.safetensors").read_bytes()
    assert (done.hash, done.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert any("in all" in one for one in done.limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.safetensors", "old.ckpt"]


def test_nothing_runs_and_nothing_is_left(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": Runs(tmp_path / "canary")}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match=r"evil\.ckpt is not converted: it asks for \w+\.system") as caught:
        convert(tmp_path / "evil.ckpt", tmp_path / "new.safetensors")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["evil.ckpt"]


def test_a_claim_of_a_hundred_gigabytes_ends_in_a_line(tmp_path: Path) -> None:
    """One number seen 25,000,000,000 times; and a storage that an old file says is larger than memory."""
    torch.save({"a": torch.zeros(1).expand(25_000_000_000)}, tmp_path / "bomb.pt")
    with pytest.raises(InputError, match="its tensors claim 100,000,000,000 bytes"):
        convert(tmp_path / "bomb.pt", tmp_path / "new.safetensors")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "old.pt").read_bytes()
    assert data.count(b"M\xe8\x03") >= 1
    (tmp_path / "old.pt").write_bytes(data.replace(b"M\xe8\x03", b"J\xff\xff\xff\x7f"))  # 8 GB of float32
    with pytest.raises(InputError, match="more memory than a file of its size needs"):
        convert(tmp_path / "old.pt", tmp_path / "new.safetensors")
    assert not (tmp_path / "new.safetensors").exists()


def test_what_comes_out_is_looked_at_as_any_file(tmp_path: Path) -> None:
    torch.save({"fine": torch.ones(2), "odd": torch.tensor([1.0, float("nan")])}, tmp_path / "old.pt")
    with pytest.raises(InputError, match=r"new\.safetensors: 'odd' holds numbers that are not finite"):
        convert(tmp_path / "old.pt", tmp_path / "new.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["old.pt"]


def test_a_process_that_says_nothing_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(WEIGHTS, tmp_path / "old.pt")

    def ends(code: int) -> None:
        monkeypatch.setattr(
            conversion.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, code)
        )

    for code, said in {-11: "SIGSEGV", -9: "SIGKILL", 1: "failed"}.items():
        ends(code)
        with pytest.raises(InputError, match=said):
            convert(tmp_path / "old.pt", tmp_path / "new.safetensors")

    def late(command: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(conversion.subprocess, "run", late)
    with pytest.raises(InputError, match="took more than 120 s"):
        convert(tmp_path / "old.pt", tmp_path / "new.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["old.pt"]


def test_wrong_names_are_told_before_anything_is_done(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "old.pt")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "there.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    wrong = [
        ("absent.pt", "new.safetensors", "does not exist"), (".", "new.safetensors", "is no file"),
        ("empty.pt", "new.safetensors", "is empty"), ("old.pt", "new.ckpt", r"end in \.safetensors"),
        ("old.pt", "there.safetensors", "exists"), ("old.pt", "no/new.safetensors", "no does not exist"),
        ("there.safetensors", "new.safetensors", "is safetensors already"),
    ]  # fmt: skip
    for source, target, message in wrong:
        with pytest.raises(InputError, match=message):
            convert(tmp_path / source, tmp_path / target)


# ---------------------------------------------------------------------------------------------------
# What the process gives up.


@needs_linux
def test_there_is_no_network_where_the_system_lets_it_go() -> None:
    """In its own network there is one device, which is down."""
    said = confined(
        "import os, socket\n"
        "held = without_network()\n"
        "names = sorted(name for _, name in socket.if_nameindex())\n"
        "print(repr(held), names)"
    )
    if said.startswith("''"):
        pytest.skip("this system lets no process go without its network")
    assert said == "'no network' ['lo']"


@needs_linux
def test_no_program_and_no_connection_can_be_begun() -> None:
    said = confined(
        "import os, socket\n"
        "print(without_programs())\n"
        "program, parent = lambda: os.execv('/bin/true', ['true']), lambda: os.kill(os.getppid(), 0)\n"
        "for call in (socket.socket, program, parent):\n"
        "    try:\n"
        "        call()\n"
        "    except PermissionError:\n"
        "        print('refused')\n"
        "print(open('/proc/self/comm').read().strip() != '')"
    )
    if not said.startswith("no connections and no programs"):
        pytest.skip("this system refuses no calls")
    assert said.splitlines()[1:] == ["refused", "refused", "refused", "True"]


@needs_linux
def test_memory_files_and_time_have_ends(tmp_path: Path) -> None:
    said = confined(
        "print(limited(memory=64 << 20, seconds=1, file=1000, files=16))\n"
        "try:\n"
        "    bytes(80 << 20)\n"
        "except MemoryError:\n"
        "    print('no memory')\n"
        "bytes(8 << 20)\n"
        "try:\n"
        f"    with open({str(tmp_path / 'file')!r}, 'wb') as file: file.write(bytes(2000))\n"
        "except OSError:\n"
        "    print('no room')\n"
        "sys.stdout.flush()\n"
        "while True:\n"
        "    pass"
    )
    lines = said.splitlines()
    assert lines[0] == "['64 MB of memory', '1 s of a processor', '0 MB of output', '16 files']"
    assert lines[1:] == ["no memory", "no room"]
    assert (tmp_path / "file").stat().st_size <= 1000
