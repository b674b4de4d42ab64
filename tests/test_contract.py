"""What every family owes to the rest of the house: the table's families at preset `tiny`, and the toys.

A family is trained once, on a batch of four pictures; most of the questions are put to the trained one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limner import families
from limner.core import Batch, Family, InputError, Request, Sketch, Step, Tokenizer, parse, unparse
from limner.drawing import draw
from limner.pipeline import Pipeline
from limner.train.machine import Precision
from limner.train.optimisers import matrices
from tests.settings import leaves, varied, watched
from tests.toys import TOYS

WITHIN = 2 * 2 / 255  # two of 255 steps, in pixels from -1 to 1
ITERATIONS = 300
LEARNT = 0.25  # of the error of the best picture that ignores the caption
SQUARES = {
    "a red square on a white ground": ((1, -1, -1), (1, 1, 1), 0),
    "a blue square on a yellow ground": ((-1, -1, 1), (1, 1, -1), 1),
    "a green square on a black ground": ((-1, 1, -1), (-1, -1, -1), 2),
    "a white square on a blue ground": ((1, 1, 1), (-1, -1, 1), 3),
}
PROMPTS = [*SQUARES]
LONG = "a " * 5000
ODD = [
    "",
    " ",
    "\x00",
    LONG,
    "ひまわり",
    "نجمة",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\ud800",
    "é\u0301" * 9,
]


class Vocabulary:
    """A tokenizer's size, to count parameters with."""

    size = 8192


@dataclass
class Trained:
    """A tiny family after it has seen one batch many times, and what was seen on the way."""

    family: Family
    batch: Batch
    losses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by step
    touched: set[str] = field(default_factory=set)  # parameters that had a gradient other than zero


def squares(size: int) -> Batch:
    """A square in a quarter of its own, for each caption, in colours far enough from where pixels are clamped."""
    images, half = [], size // 2
    for colour, ground, quarter in SQUARES.values():
        image = torch.tensor(ground).float()[:, None, None].repeat(1, size, size)
        top, left = quarter // 2 * half, quarter % 2 * half
        image[:, top : top + half, left : left + half] = torch.tensor(colour)[:, None, None]
        images.append(0.6 * image)
    return Batch(torch.stack(images), PROMPTS)


@contextlib.contextmanager
def alone(family: Family, step: Step) -> Iterator[None]:
    """Within, only the step's parameters want gradients, as when the trainer runs it."""
    mine = {id(one) for one in step.parameters}
    others = [one for one in family.parameters() if id(one) not in mine and one.requires_grad]
    for one in others:
        one.requires_grad_(False)
    try:
        yield
    finally:
        for one in others:
            one.requires_grad_(True)


@pytest.fixture(scope="module", params=[*families.TABLE, *TOYS])
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A family's name, the toys' too while the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        for toy, place in TOYS.items():
            patch.setitem(families.TABLE, toy, place)
        yield request.param


@pytest.fixture(scope="module")
def kind(name: str) -> type[Family]:
    return families.find(name)


@pytest.fixture(scope="module")
def trained(kind: type[Family], tokenizer: Tokenizer) -> Trained:
    torch.manual_seed(0)
    family = kind(kind.presets["tiny"], tokenizer)
    out = Trained(family, squares(family.config.image_size))
    family.calibrate(out.batch)
    steps, generator = family.steps(), torch.Generator().manual_seed(0)
    optimisers = [torch.optim.Adam(step.parameters, lr=5e-3, betas=(0.5, 0.99)) for step in steps]
    names = {id(one): name for name, one in family.named_parameters()}
    for iteration in range(ITERATIONS):
        for step, optimiser in zip(steps, optimisers, strict=True):
            if iteration % step.every:
                continue
            if step.anneal is not None:
                step.anneal(iteration / ITERATIONS)
            for group in optimiser.param_groups:
                group["lr"] = 5e-3 * step.rate * (1 - iteration / ITERATIONS)
            with alone(family, step):
                loss = step.loss(out.batch, generator)["loss"]
                loss.backward()
            out.losses[step.name].append(loss.item())
            if iteration < 10:
                out.touched |= {names[id(one)] for one in step.parameters if one.grad is not None and one.grad.any()}
            optimiser.step()
            optimiser.zero_grad()
    family.eval()
    return out


@pytest.fixture
def it_draws(kind: type[Family]) -> None:
    if not kind.draws():
        pytest.skip("it draws no pictures")


drawing = pytest.mark.usefixtures("it_draws")


def as_learnt(family: Family) -> Any:
    """No guidance, which draws more of what the text says than the pictures had, and no choice of unlikely tokens."""
    plain = {"guidance": 1.0, "top_k": 1}
    names = {one.name for one in dataclasses.fields(family.Knobs)}
    return dataclasses.replace(family.Knobs(), **{name: value for name, value in plain.items() if name in names})


def weights(family: Family) -> int:
    return sum(one.numel() for one in family.parameters())


def ask(family: Family, prompt: str, *, seed: int = 0, **given: Any) -> Request:
    return Request(**{"prompt": prompt, "seed": seed, "knobs": family.Knobs(), **given})


def picture(family: Family, request: Request) -> Tensor:
    return draw(family, [request])[0]


def odd(family: Family) -> list[str]:
    """ODD. A family may refuse the one of ten thousand letters, by a line that says what to do."""
    try:
        family.begin([ask(family, LONG)])
    except InputError:
        with pytest.raises(InputError, match="shorten it"):
            family.begin([ask(family, LONG)])
        return [one for one in ODD if one != LONG]
    return ODD


def same(one: Tensor, two: Tensor) -> bool:
    return (one - two).abs().max().item() <= WITHIN


# ---------------------------------------------------------------------------------------------------
# Building, and the configuration.


def test_it_builds_in_under_a_second(kind: type[Family], tokenizer: Tokenizer) -> None:
    """In this thread's own time, the best of three: the machine may be busy."""

    def seconds(preset: str) -> float:
        before = time.thread_time()
        kind(kind.presets[preset], tokenizer)
        return time.thread_time() - before

    for preset in ("tiny", "base"):
        assert any(seconds(preset) < 1.0 for _ in range(3)), preset


def test_tiny_is_small_with_a_real_vocabulary(name: str, kind: type[Family], tokenizer: Tokenizer) -> None:
    assert weights(kind(kind.presets["tiny"], Vocabulary())) < 1_000_000
    if name in TOYS:
        assert weights(kind(kind.presets["tiny"], tokenizer)) < 10_000


def test_its_config_goes_through_json_and_back(kind: type[Family]) -> None:
    for config in kind.presets.values():
        again = parse(kind.Config, json.loads(json.dumps(unparse(config))), "config.json")
        assert again == config
    assert kind.presets["tiny"] != kind.presets["base"]


def test_unknown_keys_are_refused(kind: type[Family]) -> None:
    for strict, values in ((kind.Config, unparse(kind.presets["tiny"])), (kind.Knobs, unparse(kind.Knobs()))):
        assert parse(strict, values, "here") is not None
        with pytest.raises(InputError, match='here: unknown key "colour"'):
            parse(strict, {**values, "colour": 1}, "here")


def test_every_field_of_its_config_is_read(kind: type[Family], tokenizer: Tokenizer) -> None:
    read: set[str] = set()
    config = watched(kind.presets["tiny"], read)
    read.clear()  # its own checks read it too
    family = kind(config, tokenizer)
    for step in family.steps():
        step.loss(squares(kind.presets["tiny"].image_size), torch.Generator())
    if kind.draws():
        picture(family, ask(family, PROMPTS[0]))
    assert read == leaves(kind.presets["tiny"])


@drawing
def test_every_knob_is_read(trained: Trained) -> None:
    family, read = trained.family, set[str]()
    knobs = watched(family.Knobs(), read)
    read.clear()
    picture(family, ask(family, PROMPTS[0], knobs=knobs))
    with contextlib.suppress(InputError):
        picture(family, ask(family, PROMPTS[0], knobs=knobs, image=trained.batch.images[0]))
    assert read == leaves(family.Knobs())


# ---------------------------------------------------------------------------------------------------
# Training.


def test_its_steps_are_named_and_own_all_its_parameters(trained: Trained) -> None:
    steps = trained.family.steps()
    assert len({step.name for step in steps}) == len(steps) > 0
    assert all(step.every >= 1 for step in steps)
    owned = {id(one) for step in steps for one in step.parameters}
    assert owned == {id(one) for one in trained.family.parameters() if one.requires_grad}


def test_every_parameter_gets_a_gradient(trained: Trained) -> None:
    assert trained.touched == {name for name, one in trained.family.named_parameters() if one.requires_grad}


def test_a_step_touches_its_own_parameters_alone(kind: type[Family], tokenizer: Tokenizer) -> None:
    family = kind(kind.presets["tiny"], tokenizer)
    batch = squares(family.config.image_size)
    before = {name: one.detach().clone() for name, one in family.named_parameters()}
    for step in family.steps():
        mine = {id(one) for one in step.parameters}
        with alone(family, step):
            step.loss(batch, torch.Generator())["loss"].backward()
            assert all(one.requires_grad is (id(one) in mine) for one in family.parameters())
        assert all(id(one) in mine for one in family.parameters() if one.grad is not None)
        family.zero_grad()
    assert all(one.equal(before[name]) for name, one in family.named_parameters())


@pytest.mark.parametrize("rows", [1, 4])
def test_its_losses_are_finite_on_captions_of_every_sort(trained: Trained, rows: int) -> None:
    for start in range(0, len(ODD), rows):
        captions = ODD[start : start + rows]
        batch = Batch(trained.batch.images[: len(captions)], captions)
        for step in trained.family.steps():
            losses = step.loss(batch, torch.Generator())
            assert losses["loss"].requires_grad
            assert all(value.ndim == 0 and value.isfinite() for value in losses.values())


def test_a_loss_is_random_by_its_generator_alone(trained: Trained) -> None:
    """And it can be measured without gradients, as when a run is validated."""
    for step in trained.family.steps():
        values = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            with torch.set_grad_enabled(seed == 1):
                values.append(step.loss(trained.batch, torch.Generator().manual_seed(0))["loss"].item())
        assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_its_losses_can_be_computed_in_bfloat16(trained: Trained) -> None:
    """As `precision = "bf16"` does: the weights and their gradients stay in float32, the loss is nearly the same."""
    for step in trained.family.steps():
        full = step.loss(trained.batch, torch.Generator().manual_seed(0))["loss"]
        with Precision(torch.device("cpu"), "bf16").autocast():
            half = step.loss(trained.batch, torch.Generator().manual_seed(0))["loss"]
        half.backward()
        gradients = [parameter.grad for parameter in step.parameters if parameter.grad is not None]
        assert gradients
        assert all(one.dtype == torch.float32 and one.isfinite().all() for one in gradients)
        trained.family.zero_grad()
        assert half.item() == pytest.approx(full.item(), rel=0.1, abs=0.01)


@drawing
def test_it_overfits_one_batch(trained: Trained) -> None:
    """What it draws for the captions is much nearer to their pictures than one picture for all could be."""
    family, wanted = trained.family, trained.batch.images
    drawn = torch.stack(draw(family, [ask(family, prompt, knobs=as_learnt(family)) for prompt in PROMPTS]))
    blind = (wanted - wanted.mean(dim=0)).square().mean()
    assert (drawn - wanted).square().mean() < LEARNT * blind


def test_a_family_that_does_not_draw_learns_too_and_says_so(trained: Trained) -> None:
    """One line for whoever asks it for a picture; its losses say what it learnt of the batch."""
    family = trained.family
    if family.draws():
        pytest.skip("it draws pictures, which say what it learnt")
    for losses in trained.losses.values():
        assert losses[-1] < LEARNT * losses[0]
    with pytest.raises(InputError, match=r"draws no pictures; [^\n]+$"):
        family.begin([ask(family, PROMPTS[0])])
    with pytest.raises(InputError, match="draws no pictures"):
        Pipeline(family)


def test_saved_and_loaded_its_losses_are_the_same(trained: Trained, tmp_path: Path) -> None:
    families.save(tmp_path / "model", trained.family)
    found = []
    for family in (trained.family, families.load(tmp_path / "model")):
        assert type(family) is type(trained.family)
        assert family.config == trained.family.config
        losses = [step.loss(trained.batch, torch.Generator().manual_seed(0)) for step in family.steps()]
        found.append([value.item() for one in losses for value in one.values()])
    assert found[0] == pytest.approx(found[1], rel=1e-3, abs=1e-5)


# ---------------------------------------------------------------------------------------------------
# Drawing.


@drawing
def test_the_same_request_draws_the_same_picture_twice(trained: Trained) -> None:
    family, pictures = trained.family, []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        pictures.append(picture(family, ask(family, PROMPTS[0])))
        assert torch.get_rng_state().equal(before)
    assert pictures[0].equal(pictures[1])


@drawing
def test_a_picture_is_the_same_alone_and_among_others(trained: Trained) -> None:
    """The others have each knob set otherwise, and are at other steps."""
    family = trained.family
    request = ask(family, PROMPTS[0], seed=7)
    crowd = [ask(family, PROMPTS[row % 4], seed=row, knobs=knobs) for row, knobs in enumerate(varied(family.Knobs()))]
    sketches: list[Sketch] = []
    for one in [ask(family, PROMPTS[1]), *crowd, request, ask(family, PROMPTS[2])]:
        sketches += family.begin([one])
        family.advance([sketch for sketch in sketches if not sketch.done])
    while unfinished := [sketch for sketch in sketches if not sketch.done]:
        family.advance(unfinished)
    assert len(sketches) > 2
    for sketch in sketches:
        assert same(sketch.image, picture(family, sketch.request)), sketch.request


@drawing
def test_a_sketch_is_done_after_its_steps_and_shows_itself_on_the_way(trained: Trained) -> None:
    family, size = trained.family, trained.family.config.image_size
    (sketch,) = family.begin([ask(family, PROMPTS[0])])
    assert 0 <= sketch.step < sketch.steps
    with pytest.raises(AssertionError):
        _ = sketch.image
    for step in range(sketch.step, sketch.steps):
        assert not sketch.done
        family.advance([sketch])
        assert sketch.step == step + 1
        shown = sketch.preview()
        assert shown is not None
        assert shown.shape == (3, size, size)
        assert shown.isfinite().all()
    assert sketch.done
    assert sketch.image.abs().max() <= 1.0


@drawing
def test_other_prompts_draw_other_pictures(trained: Trained) -> None:
    pictures = draw(trained.family, [ask(trained.family, prompt) for prompt in PROMPTS])
    for row, one in enumerate(pictures):
        assert all((one - other).abs().mean() > 0.1 for other in pictures[:row])


@drawing
def test_every_prompt_draws(trained: Trained) -> None:
    family, size = trained.family, trained.family.config.image_size
    prompts = odd(family)
    for prompt, one in zip(prompts, draw(family, [ask(family, prompt) for prompt in prompts]), strict=True):
        assert one.shape == (3, size, size), prompt[:20]
        assert one.isfinite().all(), prompt[:20]


@drawing
def test_guidance_of_one_is_no_guidance(trained: Trained) -> None:
    """With s = 1 what is guided away from has no say; with the prompt itself as that, s has none."""
    family = trained.family
    if not any(one.name == "guidance" for one in dataclasses.fields(family.Knobs)):
        pytest.skip("it has no guidance")
    none, much = (dataclasses.replace(family.Knobs(), guidance=scale) for scale in (1.0, 3.0))
    plain = picture(family, ask(family, PROMPTS[0], knobs=none))
    assert same(plain, picture(family, ask(family, PROMPTS[0], knobs=none, negative_prompt=PROMPTS[1])))
    assert same(plain, picture(family, ask(family, PROMPTS[0], knobs=much, negative_prompt=PROMPTS[0])))


@drawing
def test_saved_and_loaded_it_draws_the_same(trained: Trained, tmp_path: Path) -> None:
    """To rounding: weights that lie elsewhere in memory may be summed in another order."""
    families.save(tmp_path / "model", trained.family)
    once, twice = (families.load(tmp_path / "model") for _ in range(2))
    assert type(once) is type(trained.family)
    assert once.config == trained.family.config
    for prompt in PROMPTS:
        before, after, again = (picture(one, ask(one, prompt)) for one in (trained.family, once, twice))
        torch.testing.assert_close(before, after, rtol=0.0, atol=1e-4)
        assert again.equal(after)


def test_saved_and_loaded_it_is_trained_alike(trained: Trained, tmp_path: Path) -> None:
    """What goes by Muon does not depend on where the weights came from; else a run from them could not resume."""
    families.save(tmp_path / "model", trained.family)
    grouped = [
        {name for name, parameter in family.named_parameters() if parameter in matrices(family)}
        for family in (trained.family, families.load(tmp_path / "model"))
    ]
    assert grouped[0] == grouped[1]


@drawing
@pytest.mark.parametrize("given", ["negative_prompt", "image", "mask", "image and mask"])
def test_what_is_asked_for_is_used_or_refused(trained: Trained, given: str) -> None:
    family, size = trained.family, trained.family.config.image_size
    image, mask = trained.batch.images[3], torch.zeros(1, size, size)
    mask[:, : size // 2] = 1.0
    extra = {
        "negative_prompt": {"negative_prompt": PROMPTS[3]},
        "image": {"image": image},
        "mask": {"mask": mask},
        "image and mask": {"image": image, "mask": mask},
    }[given]
    without = {"image": image} if given == "image and mask" else {}
    try:
        plain, drawn = (
            draw(family, [ask(family, prompt, **values) for prompt in [*PROMPTS, *odd(family)]])
            for values in (without, without | extra)
        )
    except InputError:
        return
    assert any(not same(one, two) for one, two in zip(plain, drawn, strict=True))


@drawing
def test_a_family_draws_over_images_if_it_has_a_strength(trained: Trained) -> None:
    family = trained.family
    has = any(one.name == "strength" for one in dataclasses.fields(family.Knobs))
    with contextlib.nullcontext() if has else pytest.raises(InputError):
        picture(family, ask(family, PROMPTS[0], image=trained.batch.images[3]))


@drawing
def test_sizes_are_drawn_or_refused_and_change_no_others_picture(trained: Trained) -> None:
    """A picture that is not square, and not the model's own; alone, and among those of another size and shape."""
    family, own, step = trained.family, trained.family.config.image_size, trained.family.multiple
    if step is None:
        with pytest.raises(InputError, match=f"{own} x {own} alone"):
            picture(family, ask(family, PROMPTS[0], size=(own, 2 * own)))
        return
    wide, high = (own, own + step), (own + 2 * step, own)
    sizes = [None, wide, high, wide, None]
    requests = [ask(family, PROMPTS[0], seed=7, size=size) for size in sizes]
    together = draw(family, requests)
    for request, one in zip(requests, together, strict=True):
        assert one.shape == (3, *(request.size or (own, own)))
        assert same(one, picture(family, request))
    with pytest.raises(InputError, match="the nearest is"):
        picture(family, ask(family, PROMPTS[0], size=(own, own + 1)))


@drawing
def test_an_image_of_another_size_is_refused(trained: Trained) -> None:
    size = trained.family.config.image_size + 1
    with pytest.raises(InputError):
        picture(trained.family, ask(trained.family, PROMPTS[0], image=torch.zeros(3, size, size)))
