"""The commands of docs/serve.md are run as they stand, but for the port."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from limner.cli.main import main
from tests.serving import Serving, serving

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Serving:
    with serving(tmp_path_factory.mktemp("docs") / "studio", ["flow-scenes"]) as found:
        yield found


def here(text: str, server: Serving) -> str:
    return text.replace("127.0.0.1:8188", f"127.0.0.1:{server.port}")


def test_the_commands(shipped: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studio").symlink_to(shipped.data)
    commands = [shlex.split(here(line, shipped)) for block in blocks("sh") for line in block.splitlines()]
    assert [one[0] for one in commands].count("curl") == 2
    for command in commands:
        if command[0] == "curl":
            done = subprocess.run([*command, "--fail", "--silent"], check=True, capture_output=True, timeout=60)
            assert b'"url"' in done.stdout or b'"images"' in done.stdout
        elif command[1] != "keys":  # which would close the door of a service that is running
            assert main(command[1:]) == 0
    assert (tmp_path / "report" / "report.html").exists()
    for command in (one for one in commands if one[1] == "keys"):
        assert main([*command[1:], "--data", "other"]) == 0


def test_the_client(shipped: Serving) -> None:
    (program,) = blocks("python")
    told: list[str] = []
    exec(compile(here(program, shipped), "serve.md", "exec"), {"print": told.append})
    assert told == ["image_generation.partial_image"] * 3 + ["image_generation.completed"]
