"""What a denoiser is told: each convention against a plain reading, chunks, weights, guidance, training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from limner.core import InputError, parse, unparse
from limner.families.clip import CLIP
from limner.nn.sinusoid import sinusoid
from limner.text.bpe import BPE
from limner.text.clip import ClipText, ClipTextConfig
from limner.text.conditioning import (
    SD1,
    SD2,
    SDXL,
    Conditioner,
    ConditionerConfig,
    Conditioning,
    TowerConfig,
    embed_sizes,
)

LENGTH = 16
TEXT = ClipTextConfig(width=16, depth=3, heads=2, hidden=32, length=LENGTH)
WIDE = replace(TEXT, width=24)
TWO = ConditionerConfig(
    (TowerConfig(TEXT, "quick_gelu", pad=5, layer=2, norm=False), TowerConfig(WIDE, layer=2, norm=False, out=12)),
    zeros=True,
)
PROMPT, LONG = "a red square", "two small stars above a big moon in a night sky, a red square"


def conditioner(config: ConditionerConfig, tokenizer: BPE) -> Conditioner:
    torch.manual_seed(0)
    built = Conditioner(config, tokenizer).eval()
    with torch.no_grad():
        for one in built.parameters():
            one.add_(torch.randn_like(one) * 0.1)
    return built


def one_tower(**changes: object) -> ConditionerConfig:
    return ConditionerConfig((replace(TowerConfig(TEXT), **changes),))  # type: ignore[arg-type]


def plainly(tower: ClipText, row: list[int], *, blocks: int) -> Tensor:
    """A row of ids through the first `blocks` blocks, (L, W)."""
    causal = torch.ones(len(row), len(row), dtype=torch.bool).tril()
    x = (tower.embed(torch.tensor(row)) + tower.place[: len(row)])[None]
    for block in list(tower.blocks)[:blocks]:
        x = block(x, mask=causal)
    return x[0]


@pytest.mark.parametrize(("layer", "norm", "out"), [(1, True, 0), (2, True, 0), (2, False, 8), (3, False, 0)])
@torch.no_grad()
def test_states_are_read_where_the_convention_says(tokenizer: BPE, layer: int, norm: bool, out: int) -> None:
    built = conditioner(one_tower(layer=layer, norm=norm, out=out, pad=7), tokenizer)
    tower, words = built.towers[0], built.tokenizer
    assert isinstance(tower, ClipText)
    row = [words.start, *words.pieces(PROMPT), words.end]
    row += [7] * (LENGTH - len(row))
    x = plainly(tower, row, blocks=4 - layer)
    found = built([PROMPT])
    torch.testing.assert_close(found.tokens[0], tower.norm(x) if norm else x)
    if out:
        torch.testing.assert_close(found.pooled, tower([PROMPT]))
    else:
        assert found.pooled is None


@torch.no_grad()
def test_two_towers_lie_side_by_side_each_with_its_own_padding(tokenizer: BPE) -> None:
    both = conditioner(TWO, tokenizer)
    found = both([PROMPT, LONG])
    assert found.tokens.shape[2] == TWO.width == 40
    assert found.pooled is not None
    assert found.pooled.shape == (2, TWO.pooled) == (2, 12)
    for number, part in enumerate(found.tokens.split([16, 24], dim=-1)):
        alone = conditioner(ConditionerConfig((TWO.towers[number],)), tokenizer)
        alone.towers[0].load_state_dict(both.towers[number].state_dict())
        torch.testing.assert_close(part, alone([PROMPT, LONG]).tokens)


@torch.no_grad()
def test_clip_skip_counts_from_one_and_reads_earlier(tokenizer: BPE) -> None:
    here, earlier = (conditioner(one_tower(layer=layer), tokenizer) for layer in (1, 2))
    assert here([PROMPT], clip_skip=2).tokens.equal(earlier([PROMPT]).tokens)
    assert not here([PROMPT]).tokens.equal(here([PROMPT], clip_skip=2).tokens)
    both = conditioner(TWO, tokenizer)
    assert both([PROMPT], clip_skip=2).pooled.equal(both([PROMPT]).pooled)
    for config, most in ((one_tower(), 3), (TWO, 2)):
        for wrong in (0, most + 1):
            with pytest.raises(InputError, match=rf"^clip_skip = {wrong} is not from 1 to {most}; 1 skips nothing$"):
                conditioner(config, tokenizer)([PROMPT], clip_skip=wrong)


@torch.no_grad()
def test_all_prompts_have_as_many_chunks_as_the_longest(tokenizer: BPE) -> None:
    built = conditioner(TWO, tokenizer)
    found = built([PROMPT, LONG])
    count = found.tokens.shape[1] // LENGTH
    assert count >= 2
    alone, empty = built([PROMPT]), built([""])
    torch.testing.assert_close(found.tokens[:1, :LENGTH], alone.tokens)
    for chunk in found.tokens[:1, LENGTH:].split(LENGTH, dim=1):
        torch.testing.assert_close(chunk, empty.tokens)
    torch.testing.assert_close(found.pooled[:1], alone.pooled)
    words = built.tokenizer
    first = tokenizer._engine.decode(words.pieces(LONG)[: LENGTH - 2])
    torch.testing.assert_close(found.tokens[1:, :LENGTH], built([first]).tokens)
    torch.testing.assert_close(found.pooled[1:], built([first]).pooled)


@torch.no_grad()
def test_weights_move_each_tower_s_states_and_nothing_else(tokenizer: BPE) -> None:
    built = conditioner(TWO, tokenizer)
    plain, weighted = built([PROMPT]), built(["a (red:1.5) square"])
    assert weighted.pooled.equal(plain.pooled)
    words = built.tokenizer
    start = 1 + len(words.pieces("a"))
    weights = torch.ones(LENGTH)
    weights[start : start + len(words.pieces("red"))] = 1.5
    towers = zip(*(one.tokens[0].split([16, 24], dim=-1) for one in (plain, weighted)), strict=True)
    for before, after in towers:
        product = before * weights[:, None]
        torch.testing.assert_close(after, product * before.mean() / product.mean())


@torch.no_grad()
def test_guided_are_the_prompt_and_the_negative_one_of_as_many_chunks(tokenizer: BPE) -> None:
    plain = conditioner(replace(TWO, zeros=False), tokenizer)
    for prompt, negative in ((PROMPT, LONG), (LONG, PROMPT), (PROMPT, "")):
        found = plain.guided(prompt, negative, clip_skip=2)
        assert found.tokens.equal(plain([prompt, negative], clip_skip=2).tokens)
    silent = conditioner(TWO, tokenizer)
    found = silent.guided(LONG)
    assert found[:1].tokens.equal(silent([LONG]).tokens)
    assert not found.tokens[1].any()
    assert not found.pooled[1].any()
    assert silent.guided("", "blue").tokens.equal(silent(["", "blue"]).tokens)


def test_in_training_captions_are_as_they_are_written_and_cut(tokenizer: BPE) -> None:
    built = conditioner(replace(TWO, zeros=False), tokenizer)
    texts = [PROMPT, "", "a (red:1.5) square", LONG]
    found = built.captions(texts)
    assert found.tokens.shape == (4, LENGTH, 40)
    with torch.no_grad():
        torch.testing.assert_close(found.tokens[:2], built(texts[:2]).tokens)
        written = r"a \(red:1.5\) square"
        torch.testing.assert_close(found.tokens[2:3], built([written]).tokens[:, :LENGTH])
        torch.testing.assert_close(found.tokens[3:], built([LONG]).tokens[:, :LENGTH])
    (found.tokens.sum() + found.pooled.sum()).backward()
    assert built.towers[0].embed.weight.grad.abs().sum() > 0.0
    with torch.no_grad():
        silent = conditioner(TWO, tokenizer).captions(texts)
    assert not silent.tokens[1].any()
    assert not silent.pooled[1].any()
    assert silent.tokens[[0, 2, 3]].equal(found.tokens[[0, 2, 3]])


def test_every_parameter_of_a_tower_that_is_read_at_its_end_learns(tokenizer: BPE) -> None:
    built = Conditioner(one_tower(out=8), tokenizer)
    found = built.captions([PROMPT, LONG])
    (found.tokens.square().sum() + found.pooled.square().sum()).backward()
    assert all(one.grad is not None and one.grad.any() for one in built.parameters())


@torch.no_grad()
def test_the_last_block_that_nobody_reads_may_be_left_out(tokenizer: BPE) -> None:
    """SD 2 in one file has all blocks and is read before the last, in diffusers' folders it has one less."""
    whole = conditioner(one_tower(layer=2), tokenizer)
    shorter = conditioner(one_tower(text=replace(TEXT, depth=2)), tokenizer)
    shorter.load_state_dict({name: whole.state_dict()[name] for name in shorter.state_dict()})
    assert shorter([PROMPT]).tokens.equal(whole([PROMPT]).tokens)


@torch.no_grad()
def test_a_tower_learnt_by_contrast_is_a_tower(tokenizer: BPE) -> None:
    clip = CLIP(CLIP.presets["tiny"], tokenizer).eval()
    config = TowerConfig(clip.config.text, clip.config.activation, out=clip.config.embedding)
    built = conditioner(ConditionerConfig((config,)), tokenizer)
    built.towers[0].load_state_dict(clip.text.state_dict())
    found = built.captions([PROMPT, LONG])
    assert found.tokens.shape == (2, clip.config.text.length, clip.config.text.width)
    torch.testing.assert_close(found.pooled, clip.text([PROMPT, LONG]))


@torch.no_grad()
def test_in_half_precision_it_answers_in_half_precision(tokenizer: BPE) -> None:
    built = conditioner(TWO, tokenizer)
    exact = built(["a (red:1.5) square"])
    found = built.to(torch.bfloat16)(["a (red:1.5) square"])
    for one, other in ((found.tokens, exact.tokens), (found.pooled, exact.pooled)):
        assert one.dtype is torch.bfloat16
        torch.testing.assert_close(one.float(), other, rtol=0.1, atol=0.1)


def test_what_was_read_is_remembered_in_drawing_alone(tokenizer: BPE) -> None:
    built = conditioner(TWO, tokenizer)
    read: list[int] = []
    built.towers[0].blocks[0].register_forward_hook(lambda module, given, found: read.append(len(found)))
    with torch.no_grad():
        first = built.guided(PROMPT, "blue")
        assert built.guided(PROMPT, "blue").tokens.equal(first.tokens)
        assert read == [2]
        built.guided(PROMPT, "grey")
        built([PROMPT], clip_skip=2)
        built([PROMPT, LONG])
        assert read[1:3] == [1, 1]  # one prompt is another, then one layer
        assert len(read) == 4  # then the number of chunks
        first.tokens.zero_()  # what was given is the caller's
        assert built.guided(PROMPT, "blue").tokens.any()
        built.load_state_dict(conditioner(TWO, BPE.from_json(tokenizer.to_json())).state_dict())
        built.guided(PROMPT, "blue")
        assert len(read) == 5
        built.train()
        built.guided(PROMPT, "blue")
        assert len(read) == 6
    built.eval()
    assert built([PROMPT]).tokens.requires_grad
    assert len(read) == 7


def test_the_conventions_of_the_three_models() -> None:
    assert [(one.length, one.width, one.pooled, one.most_skip) for one in (SD1, SD2, SDXL)] == [
        (77, 768, 0, 12), (77, 1024, 0, 23), (77, 2048, 1280, 11),
    ]  # fmt: skip
    for config in (SD1, SD2, SDXL, TWO):
        assert parse(ConditionerConfig, unparse(config), "here") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": 4}, "layer = 4 is none of depth = 3"),
        ({"layer": 0}, "layer = 0 is none"),
        ({"pad": -1}, "pad = -1 is no token's id"),
        ({"out": -1}, "out = -1 is no width"),
    ],
)
def test_what_cannot_be_is_said(changes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        one_tower(**changes)


def test_towers_that_do_not_go_together_are_refused(tokenizer: BPE) -> None:
    with pytest.raises(InputError, match="reads no text"):
        ConditionerConfig(())
    with pytest.raises(InputError, match=r"length = \[16, 8\]"):
        ConditionerConfig((TowerConfig(TEXT), TowerConfig(replace(TEXT, length=8))))
    with pytest.raises(InputError, match=rf"towers\[0\]: pad = 49407 is none of the tokenizer's {tokenizer.size + 1} "):
        Conditioner(one_tower(pad=49407), tokenizer)


def test_sizes_are_six_sinusoids_behind_the_vector() -> None:
    pooled = torch.randn(2, 4)
    sizes = torch.tensor([[1024, 768, 0, 16, 512, 640], [1, 2, 3, 4, 5, 6]])
    found = embed_sizes(pooled, sizes, width=8)
    assert found[:, :4].equal(pooled)
    for place, part in enumerate(found[:, 4:].split(8, dim=-1)):
        assert part.equal(sinusoid(sizes[:, place], 8))
    assert embed_sizes(torch.zeros(1, 1280), sizes[:1]).shape == (1, 2816)


def test_rows_are_stacked_and_taken() -> None:
    one, other = (Conditioning(torch.full((1, 2, 3), x), torch.full((1, 4), x)) for x in (1.0, 2.0))
    both = Conditioning.stack([one, other])
    assert both[1:].tokens.equal(other.tokens)
    assert both[[1]].pooled.equal(other.pooled)
    assert Conditioning.stack([Conditioning(one.tokens, None)]).pooled is None
