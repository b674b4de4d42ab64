"""What is DALL-E's alone: its losses, who sees whom, and drawing from a memory against drawing anew."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from limner.codecs.dvae import DVAEConfig
from limner.core import Batch, InputError, Request, Sketch
from limner.families.dalle import Config, Dalle, Knobs
from limner.process.categorical import choose
from limner.process.guidance import guide
from limner.text.bpe import BPE

CAPTIONS = ["a red circle", "two dogs on a beach", "a blue sky", ""]
SMALL = Config(
    image_size=16, codec=DVAEConfig(vocabulary=24, groups=3, blocks=1, width=8, start=8), length=10, width=16, depth=3,
    heads=2, hidden=24, kernel=3,
)  # fmt: skip
COUNT = 16  # image tokens


@pytest.fixture(scope="module")
def tokenizer() -> BPE:
    return BPE.train(CAPTIONS * 20, 300)


@pytest.fixture(scope="module")
def dalle(tokenizer: BPE) -> Dalle:
    """With every weight moved from where it starts, and with opinions."""
    torch.manual_seed(0)
    made = Dalle(SMALL, tokenizer)
    made.calibrate(batch())
    with torch.no_grad():
        for parameter in made.transformer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return made.eval()


def batch() -> Batch:
    return Batch(torch.rand(4, 3, 16, 16, generator=Generator().manual_seed(1)) * 2 - 1, CAPTIONS)


def request(prompt: str = "a red circle", *, seed: int = 1, **knobs: float) -> Request:
    return Request(prompt=prompt, seed=seed, knobs=replace(Knobs(), **knobs))  # type: ignore[arg-type]


def drawn(dalle: Dalle, *requests: Request) -> list[Sketch]:
    sketches = dalle.begin(requests)
    while waiting := [one for one in sketches if not one.done]:
        dalle.advance(waiting)
    return sketches


@torch.no_grad()
def drawn_anew(dalle: Dalle, request: Request) -> Tensor:
    """The tokens (N,), each by the whole network over the whole stream before it."""
    model, knobs, generator = dalle.transformer, request.knobs, Generator().manual_seed(request.seed)
    tokens = torch.zeros(1, 0, dtype=torch.int64)
    settings = {name: torch.tensor([getattr(knobs, name)]) for name in ("temperature", "top_k", "top_p")}
    while tokens.shape[1] < COUNT:
        cond, uncond = (
            model.say_code(model(*dalle.tokenize([text]), tokens)[:, -1])
            for text in (request.prompt, request.negative_prompt)
        )
        logits = guide(cond, uncond, torch.tensor([float(knobs.guidance)]))
        token = choose(logits, torch.rand(1, generator=generator, dtype=torch.float64), **settings)
        tokens = torch.cat([tokens, token[:, None]], dim=1)
    return tokens[0]


# ---------------------------------------------------------------------------------------------------
# Drawing.


def test_the_memory_draws_what_the_whole_network_draws(dalle: Dalle) -> None:
    """The same tokens and the same pixels, together and at every setting."""
    requests = [
        request(), request("two dogs on a beach", seed=2, guidance=1.0), request("", seed=3),
        request(seed=4, temperature=0.7, top_k=5), request("a blue sky", seed=5, top_p=0.8, guidance=7.0),
        replace(request(seed=6), negative_prompt="a blue sky"),
    ]  # fmt: skip
    sketches = drawn(dalle, *requests)
    anew = [drawn_anew(dalle, one) for one in requests]
    assert len({tuple(tokens.tolist()) for tokens in anew}) == len(requests)
    for sketch, tokens in zip(sketches, anew, strict=True):
        assert sketch.tokens.equal(tokens)
        torch.testing.assert_close(sketch.image, dalle.paint(tokens[None])[0], atol=1e-5, rtol=0)


def test_the_picture_does_not_depend_on_how_many_tokens_a_step_draws(dalle: Dalle) -> None:
    sketches = drawn(dalle, *(request(tokens_per_step=count) for count in (1, 5, 8, 99)))
    assert [one.steps for one in sketches] == [16, 4, 2, 1]
    assert all(one.tokens.equal(sketches[0].tokens) for one in sketches)


def test_a_memory_is_copied_only_when_the_company_changes(dalle: Dalle) -> None:
    """And a sketch that was left behind finds its own as it was."""
    sketches = dalle.begin([request(seed=seed, tokens_per_step=2) for seed in (1, 2, 3)])
    memory = sketches[0].memory
    dalle.advance(sketches)
    assert all(one.memory is memory for one in sketches)
    dalle.advance(sketches[1:])
    assert sketches[1].memory is sketches[2].memory is not memory
    for together in ([0, 2], [1], [0, 1], [2, 0, 1]):
        dalle.advance([sketches[row] for row in together])
    while waiting := [one for one in sketches if not one.done]:
        dalle.advance(waiting)
    for sketch in sketches:
        assert sketch.tokens.equal(drawn_anew(dalle, sketch.request))


def test_without_guidance_a_step_costs_half(dalle: Dalle, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    proceed = dalle.transformer.proceed
    monkeypatch.setattr(dalle.transformer, "proceed", lambda x, *rest: rows.append(len(x)) or proceed(x, *rest))
    drawn(dalle, request(guidance=1.0), request(seed=2))
    assert rows == [3] * COUNT


def test_a_preview_shows_the_tokens_that_are_there(dalle: Dalle) -> None:
    (sketch,) = dalle.begin([request(tokens_per_step=6)])
    assert sketch.preview() is None
    dalle.advance([sketch])
    shown = sketch.preview()
    grey = shown.eq(0.0).all(dim=0)
    there = torch.arange(COUNT).reshape(4, 4).repeat_interleave(4, 0).repeat_interleave(4, 1) < 6
    assert grey.equal(~there)
    while not sketch.done:
        dalle.advance([sketch])
    assert sketch.preview().equal(sketch.image)
    torch.testing.assert_close(sketch.image[:, :4, :4], shown[:, :4, :4], atol=0.02, rtol=0)  # its neighbours are there


def test_the_likeliest_token_alone_leaves_nothing_to_the_seed(dalle: Dalle) -> None:
    one, two, other = drawn(dalle, request(top_k=1), request(seed=2, top_k=1), request(seed=2))
    assert one.tokens.equal(two.tokens)
    assert not one.tokens.equal(other.tokens)


# ---------------------------------------------------------------------------------------------------
# The transformer.


def test_the_loss_is_an_eighth_text_and_seven_eighths_picture(dalle: Dalle) -> None:
    """Against the cross-entropies computed place by place."""
    plain = Dalle(replace(SMALL, dropped=0.0), dalle.tokenizer)
    plain.load_state_dict(dalle.state_dict())
    data, model = batch(), plain.transformer
    found = plain.predict(data, Generator())
    codes = plain.codec.encode(data.images).flatten(1)
    ids, mask = plain.tokenize(data.captions)
    known = model(ids, mask, codes[:, :-1])
    assert known.shape == (4, 10 + COUNT - 1, 16)
    text = [F.cross_entropy(model.say_word(known[:, place]), ids[:, place + 1]) for place in range(9)]
    image = [F.cross_entropy(model.say_code(known[:, 9 + place]), codes[:, place]) for place in range(COUNT)]
    text, image = torch.stack(text).mean(), torch.stack(image).mean()
    torch.testing.assert_close(found["text"], text)
    torch.testing.assert_close(found["image"], image)
    torch.testing.assert_close(found["loss"], text / 8 + image * 7 / 8)


def test_it_begins_by_knowing_nothing(tokenizer: BPE) -> None:
    losses = Dalle(SMALL, tokenizer).predict(batch(), Generator().manual_seed(0))
    assert losses["text"].item() == pytest.approx(math.log(tokenizer.size), rel=0.03)
    assert losses["image"].item() == pytest.approx(math.log(24), rel=0.03)


def test_what_comes_later_is_not_seen(dalle: Dalle) -> None:
    ids, mask = dalle.tokenize(["two dogs on a beach"])
    codes = torch.arange(15)[None] % 24
    known = dalle.transformer(ids, mask, codes)
    for place in range(25):
        ids_other, codes_other = ids.clone(), codes.clone()
        if place < 10:
            ids_other[:, place] = 40
        else:
            codes_other[:, place - 10] = 23
        other = dalle.transformer(ids_other, mask, codes_other)
        assert other[:, :place].equal(known[:, :place])
        if place >= 10 or mask[0, place]:
            assert not other[:, place].equal(known[:, place])


def test_a_layer_sees_all_of_the_text_and_of_the_picture_its_pattern(tokenizer: BPE) -> None:
    """One layer alone is a convolution: of a 4 x 4 grid the token 10 sees 5, 6, 7 and 9."""
    torch.manual_seed(0)
    model = Dalle(replace(SMALL, depth=1), tokenizer).transformer
    torch.nn.init.normal_(model.blocks[0].out.weight)
    ids, mask = torch.randint(2, 200, (1, 10)), torch.ones(1, 10, dtype=torch.bool)
    codes = torch.randint(23, (1, 15))
    known = model(ids, mask, codes)[0, 20]
    for place in range(10):
        other = ids.clone()
        other[0, place] = 250
        assert not model(other, mask, codes)[0, 20].equal(known)
    reached = []
    for token in range(10):
        other = codes.clone()
        other[0, token] = 23
        if not torch.equal(model(ids, mask, other)[0, 20], known):
            reached.append(token)
    assert reached == [5, 6, 7, 9]


def test_each_place_without_a_word_has_its_own_padding(dalle: Dalle) -> None:
    """The empty caption is one word and nine paddings, all of which the picture sees."""
    model = dalle.transformer
    ids, mask = dalle.tokenize([""])
    assert mask.sum() == 1
    torch.testing.assert_close(model.embed_words(ids, mask)[0, 1:], model.padding[1:] + model.word_place[1:])
    model(ids, mask, torch.zeros(1, 4, dtype=torch.int64))[:, 9:].square().sum().backward()
    assert model.padding.grad[1:].abs().amin(dim=1).gt(0).any()
    assert (model.padding.grad.abs().sum(dim=1) > 0).tolist() == [False] + [True] * 9
    dalle.zero_grad()


# ---------------------------------------------------------------------------------------------------
# What cannot be.


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 30}, "image_size = 30 is not 2 or more tokens of 4 pixels"),
        ({"image_size": 4}, "image_size = 4 is not 2 or more"),
        ({"width": 15}, "width = 15 does not divide into heads = 2"),
        ({"kernel": 4}, "kernel = 4 has no middle"),
        ({"length": 1}, "length = 1 leaves no room"),
        ({"text_share": 1.0}, "text_share = 1.0 is not a share"),
        ({"dropped": -0.1}, "dropped = -0.1 is not a share"),
        ({"depth": 0}, "depth = 0 must be 1 or more"),
    ],
)
def test_configs_that_cannot_be_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SMALL, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, "temperature = 0.0 must be above 0"),
        ({"top_k": -1}, "top_k = -1 must be 1 or more, or 0"),
        ({"top_p": 0.0}, "top_p = 0.0 is not above 0"),
        ({"guidance": 99.0}, "guidance = 99.0 is not from 0 to 30"),
        ({"tokens_per_step": 0}, "tokens_per_step = 0 must be 1 or more"),
    ],
)
def test_knobs_that_cannot_be_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Knobs(**values)  # type: ignore[arg-type]


def test_what_it_has_no_use_for_is_refused_by_name(dalle: Dalle) -> None:
    picture = torch.zeros(3, 16, 16)
    for name, given in (("an image", {"image": picture}), ("a mask", {"mask": picture[:1]})):
        with pytest.raises(InputError, match=f"has no use for {name}: leave it out"):
            dalle.begin([replace(request(), **given)])  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "groups"), [(32, 3), (64, 4), (128, 5)])
def test_pictures_of_all_sizes_are_grids_of_eight_by_eight(size: int, groups: int, tokenizer: BPE) -> None:
    config = replace(SMALL, image_size=size, codec=replace(SMALL.codec, groups=groups))
    assert config.side == 8
    (sketch,) = drawn(Dalle(config, tokenizer), request(tokens_per_step=64))
    assert sketch.image.shape == (3, size, size)
