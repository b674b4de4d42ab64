"""A judge: where it comes from, what it scores, and how pictures are reranked by it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner import families, shelf
from limner.core import InputError, Tokenizer
from limner.families.clip import CLIP
from limner.families.clip_layouts import write_foreign
from limner.judge import Judge
from limner.pipeline import Pipeline
from limner.shelf import find_judge
from tests.judges import colours
from tests.painter import Painter, painter

__all__ = ["colours", "painter"]


@pytest.fixture
def clip(tokenizer: Tokenizer) -> CLIP:
    torch.manual_seed(0)
    return CLIP(CLIP.presets["tiny"], tokenizer).eval()


def test_scores_are_the_cosines_of_pairs(colours: Judge) -> None:
    red, grey = torch.full((3, 8, 8), -1.0), torch.zeros(3, 20, 12)
    red[0] = 1.0
    found = colours.scores([red, red, grey], ["a red square", "a blue square", "a green one"])
    assert found == pytest.approx([1.0, 0.0, 3**-0.5], abs=1e-6)


def test_embeddings_do_not_depend_on_the_company(clip: CLIP) -> None:
    judge = Judge(clip)
    pictures = list(torch.rand(70, 3, 40, 40) * 2 - 1)
    texts = [f"picture {row}" for row in range(70)]
    images, words = judge.embed_images(iter(pictures)), judge.embed_texts(texts)
    assert images.shape == words.shape == (70, clip.config.embedding)
    torch.testing.assert_close(images[66:67], judge.embed_images(pictures[66:67]))
    torch.testing.assert_close(words[66:67], judge.embed_texts(texts[66:67]))


def test_it_is_loaded_from_our_folders_and_others(clip: CLIP, tmp_path: Path) -> None:
    families.save(tmp_path / "run" / "model", clip)
    write_foreign(tmp_path / "open", clip, "open_clip")
    ours, theirs = find_judge(tmp_path / "run"), find_judge(tmp_path / "open")
    assert (ours.name, theirs.name) == ("run", "open")
    assert len(ours.hash) == len(theirs.hash) == 64
    pictures = list(torch.rand(3, 3, 32, 32) * 2 - 1)
    texts = ["a red square", "", "a blue circle"]
    wanted = Judge(clip).scores(pictures, texts)
    assert ours.scores(pictures, texts) == pytest.approx(wanted, abs=1e-5)
    assert theirs.scores(pictures, texts) == pytest.approx(wanted, abs=1e-5)


def test_what_draws_is_no_judge_and_a_judge_does_not_draw(painter: Painter, clip: CLIP, tmp_path: Path) -> None:
    families.save(tmp_path / "painter", painter)
    with pytest.raises(InputError, match="painter holds a painter, which draws; a judge is a clip"):
        find_judge(tmp_path / "painter")
    families.save(tmp_path / "clip", clip)
    with pytest.raises(InputError, match="clip is a clip and draws no pictures; limner models says which do"):
        Pipeline.from_pretrained(tmp_path / "clip")


def test_without_a_name_it_is_the_shipped_one(clip: CLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "SHIPPED", tmp_path)
    families.save(tmp_path / shelf.JUDGE, clip)
    assert find_judge().name == shelf.JUDGE


def test_the_best_pictures_of_each_prompt_are_kept_best_first(painter: Painter, colours: Judge) -> None:
    pipe = Pipeline(painter)
    prompts = ["something red", "something blue"]
    plain = pipe(prompts, num_images_per_prompt=5, seed=3, output_type="pt")
    best = pipe(prompts, num_images_per_prompt=5, seed=3, output_type="pt", rerank=2, judge=colours)
    assert len(best.images) == len(best.settings) == 4
    pixels = plain.images * 2 - 1
    scores = colours.scores(list(pixels), [one.prompt for one in plain.settings])
    for group in (0, 1):
        order = sorted(range(5 * group, 5 * group + 5), key=lambda row: -scores[row])[:2]
        assert best.seeds[2 * group : 2 * group + 2] == [plain.seeds[row] for row in order]
        for place, row in enumerate(order):
            settings = best.settings[2 * group + place]
            assert settings.score == pytest.approx(scores[row], abs=1e-5)
            assert (settings.judge, settings.judge_hash) == ("colours", "c0105")
            assert best.images[2 * group + place].equal(plain.images[row])
    assert plain.settings[0].score is None


@pytest.mark.parametrize("rerank", [0, 6])
def test_as_many_as_there_are_can_be_kept(painter: Painter, colours: Judge, rerank: int) -> None:
    with pytest.raises(InputError, match=f"rerank = {rerank} is not from 1 to 5"):
        Pipeline(painter)("red", num_images_per_prompt=5, rerank=rerank, judge=colours)
    assert not painter.together  # nothing was drawn first


def test_a_judge_without_reranking_is_a_mistake(painter: Painter, colours: Judge) -> None:
    with pytest.raises(InputError, match="a judge is for rerank"):
        Pipeline(painter)("red", judge=colours)
