from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest

from limner.core import InputError
from limner.data.dice import Dice
from limner.data.scenes import SPLITS, Scenes
from limner.data.scenes.artwork import artwork
from limner.data.scenes.captions import english_caption
from limner.data.scenes.grounds import NAMED, SHADES, main_colours
from limner.data.scenes.layout import lay_out
from limner.data.scenes.phrases import NAMED as GROUND_WORDS
from limner.data.scenes.plan import KINDS, Plan, held_out, stands_out
from limner.data.scenes.truth import Ground, Placed, Truth


@lru_cache
def truths(split: str, count: int = 2500) -> list[Truth]:
    scenes = Scenes(split, seed=11)
    return [scenes.truth(index) for index in range(count)]


def combinations(truth: Truth) -> Iterator[tuple[str, str]]:
    """Read back from the truth, by another way than the planner's: (sort, how it is written down)."""
    names = [one.name for one in truth.cast]
    for one in truth.things:
        if one.shape:
            yield "shape", f"shape|{one.shape}|{one.colour}"
        if truth.ground.colours != ("white",):
            yield "ground", f"ground|{one.name}|{truth.ground.key}"
    if truth.count > 1:
        yield "count", f"count|{truth.count}|{names[0]}"
    if truth.relation == "between":
        yield "relation", f"relation|{names[0]}|between|{names[1]}"
        yield "relation", f"relation|{names[0]}|between|{names[2]}"
    elif truth.relation and truth.count == 1:
        first, second = names
        if truth.relation in ("right of", "below") or (truth.relation in ("beside", "corners") and second < first):
            first, second = second, first
        relation = {"right of": "left of", "below": "above"}.get(truth.relation, truth.relation)
        yield "relation", f"relation|{first}|{relation}|{second}"


# ---------------------------------------------------------------------------------------------------
# A scene is a pure function of (seed, split, index).


def test_scenes_are_the_same_everywhere() -> None:
    """Digests, so that another machine, library or day that draws anything else is noticed."""
    scenes = {split: Scenes(split, seed=5) for split in SPLITS}
    lines = "\n".join(scenes[split].truth(index).to_json() for split in SPLITS for index in range(100))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == "b0e9b365dcb9c085"
    pixels = b"".join(scenes[split][index].image.numpy().tobytes() for split in SPLITS for index in range(40))
    assert hashlib.sha256(pixels).hexdigest()[:16] == "6712ed336e224f7a"


def test_order_of_asking_plays_no_part() -> None:
    forth, back = Scenes(seed=3, size=64), Scenes(seed=3, size=64)
    first = [forth[index] for index in range(20)]
    again = [back[index] for index in reversed(range(20))][::-1]
    assert [one.caption for one in first] == [one.caption for one in again]
    assert all((one.image == other.image).all() for one, other in zip(first, again, strict=True))


def test_seed_split_and_index_each_change_the_scene() -> None:
    kinds = [Scenes(seed=0), Scenes(seed=1), Scenes("seen", seed=0)]
    captions = [tuple(scenes.truth(index).caption for index in range(30)) for scenes in kinds]
    assert len(set(captions)) == 3
    assert len(set(captions[0])) >= 28


def test_truth_goes_through_json() -> None:
    for truth in truths("train")[:300]:
        assert Truth.from_json(truth.to_json()) == truth


# ---------------------------------------------------------------------------------------------------
# What training never sees.


@pytest.mark.parametrize("split", ["train", "seen"])
def test_no_held_out_combination_in(split: str) -> None:
    found = Counter(sort for truth in truths(split) for sort, one in combinations(truth) if held_out(one))
    assert not found
    assert all(n > 100 for n in Counter(sort for truth in truths(split) for sort, _ in combinations(truth)).values())


def test_every_unseen_scene_holds_something_of_its_own_kind() -> None:
    sorts = {"single": "ground", "shape": "shape", "two": "relation", "relation": "relation", "count": "count",
             "many": "ground shape", "keywords": "ground", "language": "ground"}  # fmt: skip
    for truth in truths("unseen"):
        assert any(held_out(one) and sort in sorts[truth.kind].split() for sort, one in combinations(truth)), truth
    assert {truth.kind for truth in truths("unseen")} == set(sorts)


def test_share_held_out_is_a_tenth_of_each_sort() -> None:
    for sort in ("ground", "shape", "relation", "count"):
        share = np.mean([held_out(f"{sort}|{n}|x") for n in range(4000)])
        assert 0.08 < share < 0.12
    shapes = [thing for thing in artwork().shapes if held_out(f"shape|{thing.shape}|{thing.colour}")]
    assert 6 <= len(shapes) <= 12
    assert max(Counter(thing.shape for thing in shapes).values()) <= 2
    assert max(Counter(thing.colour for thing in shapes).values()) <= 2


def test_everything_can_be_learned_on_most_grounds() -> None:
    grounds = [Ground(colours=(colour,)) for colour in SHADES if colour != "white"] + [Ground(one, ()) for one in NAMED]
    for thing in artwork().emoji:
        free = [one for one in grounds if not held_out(f"ground|{thing.name}|{one.key}")]
        assert sum(stands_out(thing, main_colours(ground)) for ground in free) >= len(grounds) // 2, thing.name


def test_things_come_up_evenly() -> None:
    scenes = Scenes(mix={"name": 1.0})
    count, emoji = 6000, len(artwork().emoji)
    found = Counter(scenes.truth(index).things[0].name for index in range(count))
    expected = emoji * (1 - (1 - 1 / emoji) ** count)
    assert abs(len(found) - expected) < 5 * emoji**0.5
    assert max(found.values()) < 16


# ---------------------------------------------------------------------------------------------------
# What is said is true.


def overlap(a: Placed, b: Placed) -> bool:
    across = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    down = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    return across > 0 and down > 0


def test_things_stay_apart_and_on_the_canvas() -> None:
    for truth in truths("train") + truths("unseen"):
        for place, one in enumerate(truth.things):
            assert 0 <= one.box[0] < one.box[2] <= 128
            assert 0 <= one.box[1] < one.box[3] <= 128
            if truth.relation not in ("inside", "on top of"):
                assert not any(overlap(one, other) for other in truth.things[:place]), truth


def middle(one: Placed) -> tuple[float, float]:
    return (one.box[0] + one.box[2]) / 2, (one.box[1] + one.box[3]) / 2


def test_relations_hold() -> None:
    scenes = Scenes(seed=2, mix={"relation": 1.0, "two": 0.2})
    seen = Counter()
    for truth in (scenes.truth(index) for index in range(1500)):
        seen[truth.relation] += 1
        if truth.count == 4:
            assert {one.place for one in truth.things} == {"top left", "top right", "bottom left", "bottom right"}
            continue
        (ax, ay), (bx, by), *rest = map(middle, truth.cast)
        first, second = truth.cast[:2]
        assert {
            "beside": bx - ax > 40,
            "left of": bx - ax > 40,
            "right of": ax - bx > 40,
            "above": by - ay > 40,
            "below": ay - by > 40,
            "on top of": by - ay > 20 and abs(ax - bx) < 12 and truth.things[0] == second,
            "inside": second.box[0] < first.box[0] and first.box[2] < second.box[2] and truth.things[1] == first,
            "between": bool(rest) and bx < ax < rest[0][0],
            "corners": "corner" in truth.caption or "at the " in truth.caption,
        }[truth.relation], truth
    assert len(seen) == 9
    assert min(seen.values()) > 40


def test_numbers_sizes_and_places_hold() -> None:
    numbers = {2: "two|2", 3: "three|3", 4: "four|4|a herd of|a flock of"}
    for truth in truths("train") + truths("seen"):
        if truth.kind == "count":
            assert len(truth.things) == truth.count
            assert re.search(rf"(?i)\b({numbers[truth.count]}) ", truth.caption)
        for one in truth.things:
            side = one.box[2] - one.box[0]
            assert {"small": side <= 36, "big": side >= 56, "": True}[one.size]
            x, y = middle(one)
            assert ("left" not in one.place) or x < 44
            assert ("right" not in one.place) or x > 84
            assert ("top" not in one.place) or y < 44
            assert ("bottom" not in one.place) or y > 84
            assert one.size != "small" or re.search(r"(?i)small|tiny|little", truth.caption)


def test_what_is_not_said_does_not_vary() -> None:
    """Nor do things stand off the grid of 16 pixels, save the few whose place follows from another's form."""
    scenes = Scenes(mix={"single": 1.0, "name": 1.0})
    for one in (scenes.truth(index).things[0] for index in range(400)):
        if not one.size and not one.place:
            assert one.box == (16, 16, 112, 112)
    boxes = [one.box for truth in truths("train") for one in truth.things]
    assert np.mean([all(edge % 16 == 0 for edge in box) for box in boxes]) > 0.9


def test_ground_is_said_or_white() -> None:
    for truth in truths("train"):
        if not truth.ground.said:
            assert truth.ground == Ground()
        elif truth.language == "en":
            words = truth.ground.colours or [word for words in GROUND_WORDS[truth.ground.name][:3] for word in words]
            said = [word.strip().replace(", {s}", "").replace("{s}", "").strip() for word in words]
            text = truth.caption.lower()
            found = [word.lower() in text for word in said]
            assert all(found) if truth.ground.colours else any(found), truth.caption
    share = np.mean([truth.ground.said for truth in truths("train") if truth.kind in ("single", "shape")])
    assert 0.4 < share < 0.6


def test_captions_are_finished_text() -> None:
    wrong_article = re.compile(r"\ba (?!eu|ewe)[aei]\w|\ban [b-df-gj-np-tv-wyz][a-z]")
    for truth in (truth for split in SPLITS for truth in truths(split)):
        assert truth.caption == truth.caption.strip() != ""
        assert not re.search(r"[{}]|  | ,", truth.caption)
        assert truth.language != "en" or not wrong_article.search(truth.caption), truth.caption
    assert len({truth.form for truth in truths("train")}) >= 10
    assert len({truth.language for truth in truths("train")}) == 12


def test_the_first_prompt_of_aligndraw_can_be_said() -> None:
    sky = Ground("sky", (), "", 0, True)
    plan = Plan("single", (artwork().named("stop sign"),), ground=sky)
    said = {english_caption(plan, lay_out(plan, Dice(n)), Dice("caption", n))[0] for n in range(6000)}
    assert "a stop sign is flying in blue skies" in said
    grass = Plan("single", (artwork().named("toilet"),), ground=Ground("meadow", (), "", 0, True))
    said = {english_caption(grass, lay_out(grass, Dice(n)), Dice("caption", n))[0] for n in range(6000)}
    assert "a toilet sits in the grass field" in said
    herd = Plan("count", (artwork().named("elephant"),), count=4, ground=sky)
    said = {english_caption(herd, lay_out(herd, Dice(n)), Dice("caption", n))[0] for n in range(6000)}
    assert "a herd of elephants is flying in blue skies" in said


# ---------------------------------------------------------------------------------------------------
# Pictures.


def test_ground_is_what_the_picture_shows_elsewhere() -> None:
    scenes = Scenes(seed=9)
    for index in range(60):
        truth = scenes.truth(index)
        ground, picture = scenes.ground(truth), np.asarray(scenes.render(truth))
        free = np.ones((128, 128), bool)
        for one in truth.things:
            free[one.box[1] : one.box[3], one.box[0] : one.box[2]] = False
        assert (ground[free] == picture[free]).all()
        for one in truth.things:
            inside = np.s_[one.box[1] : one.box[3], one.box[0] : one.box[2]]
            assert (abs(ground[inside].astype(int) - picture[inside]).max(axis=2) > 20).mean() > 0.05, truth


def test_things_are_composed_over_the_ground() -> None:
    """Against a plain alpha composition in floating point."""
    scenes = Scenes(seed=9, mix={"two": 1.0})
    truth = scenes.truth(1)
    canvas = scenes.ground(truth).astype(float)
    for one in truth.things:
        rgba = np.asarray(artwork().picture(one.thing, one.box[2] - one.box[0])).astype(float)
        part, alpha = np.s_[one.box[1] : one.box[3], one.box[0] : one.box[2]], rgba[..., 3:] / 255
        canvas[part] = canvas[part] * (1 - alpha) + rgba[..., :3] * alpha
    assert abs(canvas - np.asarray(scenes.render(truth))).max() <= 1


def test_smaller_scenes_are_area_averages() -> None:
    large, small = Scenes(seed=4), Scenes(seed=4, size=32)
    for index in range(5):
        averaged = large[index].image.float().reshape(3, 32, 4, 32, 4).mean((2, 4))
        assert (averaged - small[index].image.float()).abs().max() <= 1


def test_example_is_bytes_of_the_asked_size() -> None:
    example = Scenes("seen", size=48)[7]
    assert example.image.shape == (3, 48, 48)
    assert str(example.image.dtype) == "torch.uint8"


# ---------------------------------------------------------------------------------------------------
# The mix, and what is refused.


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_can_be_asked_for(kind: str) -> None:
    scenes = Scenes("seen", mix={kind: 1.0})
    assert {scenes.truth(index).kind for index in range(20)} == {kind}


def test_mix_gives_shares_whatever_its_order() -> None:
    one, other = Scenes(mix={"single": 3, "count": 1}), Scenes(mix={"count": 1, "single": 3})
    kinds = [one.truth(index).kind for index in range(1200)]
    assert kinds == [other.truth(index).kind for index in range(1200)]
    assert abs(kinds.count("count") / 1200 - 0.25) < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, 'no split "test"'),
        ({"size": 0}, "size = 0"),
        ({"size": 256}, "size = 256"),
        ({"mix": {"singel": 1.0}}, r'"singel" \(did you mean "single"\?\)'),
        ({"mix": {"single": -1.0}}, "single = -1.0 is negative"),
        ({"mix": {}}, "no kind of scene has a share"),
        ({"split": "unseen", "mix": {"name": 1.0}}, "the split unseen has single"),
    ],
)
def test_what_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scenes(**arguments)


def test_negative_index_is_refused() -> None:
    with pytest.raises(InputError, match="no scene number -1"):
        Scenes().truth(-1)
