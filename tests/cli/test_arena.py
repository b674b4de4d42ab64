"""limner arena as a command: what is refused, what a table says, and a real process from its start to its end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
import torch

import limner.serve.arena
from limner import families
from limner.cli import judging
from limner.evaluate.arena.records import Contestant
from limner.evaluate.arena.subjects import Subject, of_scenes
from limner.evaluate.arena.votes import Votes
from limner.provenance import read_picture_settings
from tests.drawn import drawn


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with pictures of two, and some that say nothing."""
    for name in ("anne", "beth"):
        drawn(tmp_path / name)
    drawn(tmp_path / "cleo", ["something else"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "other.txt").write_text("a green pear\n")
    (tmp_path / "votes.txt").write_text("no database\n" * 100)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def votes(desk: Path) -> Path:
    """Anne won 8 of 10 on ten prompts, one is tied, one was lost; the winner was on the left."""
    path, subjects = desk / "votes.sqlite", [Subject(f"prompt {number}", 0) for number in range(10)]
    with closing(Votes(path)) as file:
        session = file.begin()
        for name in ("anne", "beth"):
            file.hang(session, Contestant(name, name, name), [(subject, desk / name / "0.png") for subject in subjects])
        for number, choice in enumerate(["left"] * 8 + ["tie", "right"], start=1):
            file.cast(session, file.show(number, 10 + number), choice)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nobody to compare"),
        (["anne"], "anne has nobody to be compared with"),
        (["anne", "anne"], "anne is named twice"),
        (["anne", "empty"], "empty is no model, and as a folder of pictures it holds no picture"),
        (["anne", "flow-scense"], 'did you mean "flow-scenes"?'),
        (["anne", "cleo"], "no picture of a prompt that another shows too"),
        (["anne", "beth", "--prompts", "absent.txt"], "absent.txt: No such file"),
        (["anne", "beth", "--prompts", "blank.txt"], "blank.txt holds no prompt"),
        (["anne", "beth", "--prompts", "other.txt"], "no picture of a prompt"),
        (["anne", "beth", "--host", "0.0.0.0"], "every address"),
        (["anne", "beth", "--port", "70000"], "65535"),
        (["anne", "beth", "--scenes", "sene"], "sene"),
        (["anne", "beth", "--out", "blank.txt"], "blank.txt"),
        (["anne", "beth", "--json"], "--json needs --table"),
        (["anne", "beth", "--export", "votes.jsonl"], "--export needs --table"),
        (["anne", "--table", "votes.sqlite"], "leave out the runs"),
        (["--table", "absent.sqlite"], "absent.sqlite does not exist"),
        (["--table", "votes.txt"], "votes.txt cannot be used as a file of votes"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, desk, words, said):
    before = sorted(desk.rglob("*"))
    result = run("arena", *words, *([] if "--port" in words else ["--port", 0]))
    assert result.code in (1, 2)
    assert result.out == ""
    assert result.err.startswith("limner: ")
    assert result.err.count("\n") == 1
    assert said in result.err
    assert sorted(desk.rglob("*")) == before


def test_a_port_in_use_is_one_line(run, desk):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        result = run("arena", "anne", "beth", "--port", port)
    assert (result.code, result.out) == (2, "")
    assert (
        result.err
        == f"limner: port {port} of 127.0.0.1 is in use; name another by --port, or any free one by --port 0\n"
    )
    assert not (desk / "arena").exists()


def test_without_a_server_installed_it_says_what_to_install(run, desk, monkeypatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named 'starlette', which {name} imports", name="starlette")

    monkeypatch.setattr(judging, "import_module", missing)
    result = run("arena", "anne", "beth")
    assert (result.code, result.err) == (2, 'limner: serving a page needs starlette; pip install "limner[serve]"\n')


def test_the_table_on_the_terminal(run, votes):
    result = run("arena", "--table", votes)
    assert (result.code, result.err) == (0, "")
    for line in ("10 votes on 10 prompts", "anne against beth", "ties 10.0 (1.8-40.4) % of 10"):
        assert line in result.out
    assert "left 88.9 (56.5-98.0) % of 9 that were decided" in result.out
    assert "note: the left picture was favoured more than chance explains" in result.out
    assert run("arena", "--table", votes).out == result.out


def test_a_name_is_text_on_the_terminal(run, desk):
    path, subject = desk / "votes.sqlite", Subject("a prompt", 0)
    with closing(Votes(path)) as file:
        session = file.begin()
        for name, folder in (("[/b] :cat:", "anne"), ("[red]beth", "beth")):
            file.hang(session, Contestant(name, name, name), [(subject, desk / folder / "0.png")])
        file.cast(session, file.show(1, 2), "left")
    result = run("arena", "--table", path)
    assert (result.code, result.err) == (0, "")
    assert "\n [/b] :cat: " in result.out
    assert "\n [red]beth " in result.out


def test_the_table_and_the_votes_as_json(run, votes, desk):
    result = run("arena", "--table", votes, "--json", "--export", "votes.jsonl")
    table = json.loads(result.out)
    assert [(row["name"], row["record"]["won"]) for row in table["standings"]] == [("anne", 8), ("beth", 1)]
    lines = [json.loads(line) for line in (desk / "votes.jsonl").read_text().splitlines()]
    assert [line["choice"] for line in lines].count("left") == 8
    assert {line["left"]["name"] for line in lines} == {"anne"}
    assert {line["prompt"] for line in lines} == {f"prompt {number}" for number in range(10)}


def test_a_table_of_no_votes(run, desk):
    Votes(desk / "none.sqlite").close()
    assert run("arena", "--table", "none.sqlite").out == "There are no votes yet\n"


@pytest.mark.parametrize(
    ("words", "subjects"),
    [
        (("--prompts", "prompts.txt"), [Subject("a red kite", 0), Subject("two cats", 0)]),
        (("--scenes", "unseen", "--seed", 3, "-n", 4), of_scenes("unseen", seed=3, count=4)),
        (("drawings",), [Subject("a red kite", 0)]),
    ],
)
def test_models_draw_first_where_that_is_asked_for(run, home, monkeypatch, painter, words, subjects):
    """The page itself is left out: serving is over at once."""
    monkeypatch.setattr(limner.serve.arena, "serve", lambda application, address: None)
    families.save(home / "runs" / "mine" / "model", painter)
    (home / "prompts.txt").write_text("a red kite\ntwo cats\n")
    drawn(home / "drawings", ["a red kite"])
    result = run("arena", "flow-scenes", "runs/mine", *words, "--steps", 2, "--port", 0, "--draw-first")
    assert (result.code, result.err) == (2, "limner: flow-scenes and runs/mine are the same; name each once\n")
    with torch.no_grad():
        painter.scale.add_(0.1)
    families.save(home / "runs" / "mine" / "model", painter)
    result = run("arena", "flow-scenes", "runs/mine", *words, "--steps", 2, "--port", 0, "--draw-first")
    assert (result.code, result.err) == (0, "")
    assert "0 votes in arena/votes.sqlite; the table:" in result.out
    pictures = [read_picture_settings(path) for path in (home / "arena" / "pictures").rglob("*.png")]
    assert sorted(one.prompt for one in pictures) == sorted(2 * [subject.prompt for subject in subjects])
    assert {one.knobs["steps"] for one in pictures} == {2}
    for subject in subjects:
        seeds = [one.seed for one in pictures if one.prompt == subject.prompt]
        assert len(seeds) == 2 * len(set(seeds))
    with closing(Votes(home / "arena" / "votes.sqlite")) as votes:
        assert len(votes.candidates(1)) == len(subjects) * (3 if words == ("drawings",) else 1)


def test_a_real_process_serves_until_it_is_told_to_stop(desk):
    command = [sys.executable, "-m", "limner", "arena", "anne", "beth", "--port", "0"]
    places = [str(Path(limner.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    with subprocess.Popen(
        command, cwd=desk, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("2 contestants, 3 prompts: open http://127.0.0.1:")
            [url] = [word for word in line.split() if word.startswith("http")]
            with urllib.request.urlopen(f"{url}progress", timeout=300) as answer:
                assert json.load(answer)["total"] == 6
            process.terminate()
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    assert out == "0 votes in arena/votes.sqlite; the table: limner arena --table arena/votes.sqlite\n"
