"""Who takes part and with what, and the drawing of what is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from limner import families
from limner.core import InputError
from limner.evaluate.arena.arena import Arena, RefusedError, UnknownError
from limner.evaluate.arena.entrants import Entrant, Folder, Model, common, find
from limner.evaluate.arena.studio import Progress, Studio
from limner.evaluate.arena.subjects import Subject, numbered, of_scenes
from limner.evaluate.arena.votes import Votes
from limner.provenance import read_picture_settings
from tests.drawn import PROMPTS, drawn
from tests.painter import Painter, painter

__all__ = ["painter"]


@pytest.fixture
def model(tmp_path: Path, painter: Painter) -> Path:
    families.save(tmp_path / "model" / "artist", painter)
    return tmp_path / "model" / "artist"


@pytest.fixture
def votes(tmp_path: Path) -> Iterator[Votes]:
    with closing(Votes(tmp_path / "votes.sqlite")) as found:
        yield found


def found(*runs: object, folder: Path, seed: int = 0, knobs: dict | None = None) -> list[Entrant]:
    return find([str(run) for run in runs], folder / "pictures", seed=seed, knobs=knobs or {}, say=print)


def drawn_by(entrant: Entrant, subjects: list[Subject]) -> list[Path]:
    assert isinstance(entrant, Model)
    return [path for _, path in entrant.draw(subjects, lambda sketches: None)]


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, a minute at most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_prompt_that_comes_again_is_its_next_take():
    assert numbered(["x", "y", "x"]) == [Subject("x", 0), Subject("y", 0), Subject("x", 1)]


def test_captions_of_scenes_are_the_same_each_time():
    few = of_scenes("seen", seed=1, count=40)
    assert few == of_scenes("seen", seed=1, count=80)[:40]
    assert few != of_scenes("unseen", seed=1, count=40)


def test_a_folder_shows_its_pictures_by_prompt_and_seed(tmp_path, capsys):
    folder = drawn(tmp_path / "cats", ["cat", "dog", "cat"], seed=7)
    Image.new("RGB", (4, 4)).save(folder / "sheet.png")
    [cats, _] = found(folder, drawn(tmp_path / "dogs"), folder=tmp_path)
    assert cats.picture(Subject("cat", 1)) == folder / "9.png"
    assert not cats.offers(Subject("cat", 2))
    assert capsys.readouterr().out == f"{folder}: 1 of 4 pictures carry no prompt, and are left out\n"
    assert (cats.contestant.name, cats.contestant.origin) == ("cats", str(folder))


def test_another_picture_makes_another_contestant(tmp_path):
    folder, other = drawn(tmp_path / "cats"), drawn(tmp_path / "dogs")
    before, _ = found(folder, other, folder=tmp_path)
    again, _ = found(folder, other, folder=tmp_path)
    drawn(folder, ["one more"], seed=9)
    after, _ = found(folder, other, folder=tmp_path)
    assert before.contestant == again.contestant
    assert before.contestant.hash != after.contestant.hash


def test_a_model_draws_a_subject_the_same_in_any_company_and_finds_it_again(tmp_path, model):
    alone, _ = found(model, drawn(tmp_path / "cats"), folder=tmp_path)
    subjects = numbered(["x", "x", "y"])
    paths = drawn_by(alone, subjects)
    assert len({path.read_bytes() for path in paths}) == 3
    seeds = [read_picture_settings(path).seed for path in paths]
    later, _ = found(model, drawn(tmp_path / "dogs"), folder=tmp_path)
    assert [later.picture(subject) for subject in subjects] == paths
    assert later.picture(Subject("y", 1)) is None
    [path] = drawn_by(later, [subjects[1]])
    assert (path, read_picture_settings(path).seed) == (paths[1], seeds[1])


def test_other_knobs_make_another_contestant_and_another_seed_other_pictures(tmp_path, model):
    cats = drawn(tmp_path / "cats")
    usual, _ = found(model, cats, folder=tmp_path)
    flat, _ = found(model, cats, folder=tmp_path, knobs={"brush": "flat"})
    later, _ = found(model, cats, folder=tmp_path, seed=1)
    assert usual.contestant.hash != flat.contestant.hash
    assert usual.contestant == later.contestant
    paths = [drawn_by(one, [Subject("x", 0)])[0] for one in (usual, flat, later)]
    assert len(set(paths)) == 3


def test_subjects_are_those_that_two_can_show(tmp_path, model):
    cats, dogs = drawn(tmp_path / "cats", ["a", "b", "b"]), drawn(tmp_path / "dogs", ["b", "c"])
    folders = found(cats, dogs, folder=tmp_path)
    assert common(folders, None) == [Subject("b", 0)]
    assert common(found(cats, dogs, model, folder=tmp_path), None) == numbered(["a", "b", "b", "c"])
    assert common(found(cats, model, folder=tmp_path), numbered(["b", "b", "z"])) == numbered(["b", "b"])
    assert common(found(cats, model, folder=tmp_path), None, most=1) == [Subject("a", 0)]
    with pytest.raises(InputError, match="like with like"):
        common(found(cats, drawn(tmp_path / "birds", ["c"]), folder=tmp_path), None)


def test_a_prompt_that_no_file_can_hold_is_written_with_question_marks(tmp_path):
    folder = drawn(tmp_path / "cats", ["a \ud800 b"])
    [one, _] = found(folder, drawn(tmp_path / "dogs"), folder=tmp_path)
    assert isinstance(one, Folder)
    assert list(one.pictures) == [Subject("a ? b", 0)]


def test_who_cannot_take_part_is_told_why(tmp_path, model):
    cats, empty, plain = drawn(tmp_path / "cats"), tmp_path / "empty", tmp_path / "plain"
    empty.mkdir()
    plain.mkdir()
    Image.new("RGB", (4, 4)).save(plain / "a.png")
    copy = drawn(tmp_path / "elsewhere" / "cats")
    for runs, said in (
        ([], "nobody to compare"),
        ([cats], f"{cats} has nobody to be compared with"),
        ([cats, cats], f"{cats} is named twice"),
        ([cats, copy], f"{cats} and {copy} are the same"),
        ([model, model], "is named twice"),
        ([cats, empty], f"{empty} is no model, and as a folder of pictures it holds no picture"),
        ([cats, plain], "none of its 1 pictures carries the prompt"),
        ([cats, tmp_path / "absent"], "there is no model"),
    ):
        with pytest.raises(InputError) as caught:
            found(*runs, folder=tmp_path)
        assert said in str(caught.value)


# ---------------------------------------------------------------------------------------------------
# A session.


def session(votes: Votes, entrants: list[Entrant], subjects: list[Subject]) -> tuple[Arena, Studio, list[Progress]]:
    number, seen = votes.begin(), []
    studio = Studio(votes, number, entrants, subjects, seen.append)
    return Arena(votes, number, studio, Random(0)), studio, seen


def test_pairs_come_while_the_rest_is_drawn(tmp_path, votes, model, painter, monkeypatch):
    """The painter of the second batch waits until it is told to go on; by then the first can be voted on."""
    subjects, going_on, begun = numbered(f"prompt {number}" for number in range(10)), threading.Event(), []
    advance = Painter.advance

    def waiting(self: Painter, sketches):
        begun.append([sketch.request.prompt for sketch in sketches])
        if "prompt 8" in begun[-1]:
            assert going_on.wait(60)
        advance(self, sketches)

    monkeypatch.setattr(Painter, "advance", waiting)
    cats = drawn(tmp_path / "cats", [subject.prompt for subject in subjects])
    arena, studio, seen = session(votes, found(cats, model, folder=tmp_path), subjects)
    assert arena.progress == Progress(10, 20)
    assert arena.pair("") is None
    studio.start()
    until(lambda: arena.progress.drawn == 18)
    first = arena.pair("")
    assert first is not None
    arena.vote(first.token, "left")
    going_on.set()
    until(lambda: arena.progress.drawn == 20)
    studio.stop()
    assert [one.drawn for one in seen] == list(range(11, 21))
    assert len(votes.candidates(1)) == 10


def test_what_is_drawn_is_not_drawn_again(tmp_path, votes, model, painter):
    entrants, subjects = found(drawn(tmp_path / "cats"), model, folder=tmp_path), numbered(PROMPTS)
    _, studio, seen = session(votes, entrants, subjects)
    studio.draw()
    assert len(seen) == 3
    _, studio, seen = session(votes, found(tmp_path / "cats", model, folder=tmp_path), subjects)
    assert studio.progress == Progress(6, 6)
    studio.draw()
    assert seen == []
    assert len(votes.candidates(2)) == 3


def test_a_fault_in_drawing_is_told_and_what_is_there_can_be_voted_on(tmp_path, votes, model, monkeypatch, caplog):
    calls = []

    def failing(self: Painter, sketches):
        calls.append(sketches)
        raise OSError(28, "No space left on device", "x.png")

    entrants = found(drawn(tmp_path / "cats"), drawn(tmp_path / "dogs"), model, folder=tmp_path)
    monkeypatch.setattr(Painter, "advance", failing)
    arena, studio, seen = session(votes, entrants, numbered(PROMPTS))
    studio.start()
    until(lambda: seen != [])
    studio.stop()
    assert len(calls) == 1
    assert "No space left on device" in arena.progress.fault
    assert "no more pictures are drawn" in caplog.text
    assert arena.pair("") is not None


def test_drawing_stops_between_two_steps(tmp_path, votes, model, monkeypatch):
    started = threading.Event()
    advance = Painter.advance

    def slow(self: Painter, sketches):
        started.set()
        advance(self, sketches)

    monkeypatch.setattr(Painter, "advance", slow)
    entrants = found(drawn(tmp_path / "cats", ["x"]), model, folder=tmp_path, knobs={"steps": 100})
    _, studio, seen = session(votes, entrants, numbered(["x"] * 8))
    studio.stop()
    studio.start()
    assert started.wait(60)
    studio.stop()
    assert seen == []


def test_a_pair_is_shown_again_until_there_is_a_vote_on_it(tmp_path, votes):
    arena, *_ = session(
        votes, found(drawn(tmp_path / "cats"), drawn(tmp_path / "dogs"), folder=tmp_path), numbered(PROMPTS)
    )
    first = arena.pair("no such token")
    assert arena.pair(first.token) == first
    arena.vote(first.token, "tie")
    arena.vote(first.token, "tie")
    second = arena.pair(first.token)
    assert second.prompt != first.prompt
    with pytest.raises(RefusedError, match="another vote"):
        arena.vote(first.token, "left")
    with pytest.raises(UnknownError):
        arena.vote("no such token", "left")
    arena.finish()
    with pytest.raises(RefusedError, match="finished"):
        arena.vote(second.token, "left")
    assert len(votes) == 1


def test_a_pair_survives_the_process_that_showed_it(tmp_path, votes):
    folders = drawn(tmp_path / "cats"), drawn(tmp_path / "dogs")
    before, *_ = session(votes, found(*folders, folder=tmp_path), numbered(PROMPTS))
    pair = before.pair("")
    after, *_ = session(votes, found(*folders, folder=tmp_path), numbered(PROMPTS))
    assert after.pair(pair.token) == pair
    after.vote(pair.token, "right")
    assert [(vote.token, vote.session) for vote in votes] == [(pair.token, 2)]


def test_a_picture_that_is_gone_is_shown_no_more(tmp_path, votes):
    cats, dogs = drawn(tmp_path / "cats"), drawn(tmp_path / "dogs")
    arena, *_ = session(votes, found(cats, dogs, folder=tmp_path), numbered(PROMPTS))
    first = arena.pair("")
    first.left.path.unlink()
    second = arena.pair(first.token)
    assert second.prompt != first.prompt
    for path in cats.iterdir():
        path.unlink()
    assert arena.pair(second.token) is None
