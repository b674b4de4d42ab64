"""CLIP against open_clip and transformers with the same random weights: features, loss, tokens, files both ways."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Engine
from torch import Tensor, nn

from limner.core import Batch, InputError
from limner.families.clip import CLIP
from limner.families.clip_layouts import read_foreign, write_foreign
from limner.text.bpe import BPE
from limner.text.ended import Ended, Templated
from tests.conftest import CAPTIONS
from tests.oracles.comparing import error, scrambled

pytest.importorskip("ftfy")
pytest.importorskip("regex")
WITHIN = 1e-5  # relative error in float32
LENGTH, SIZE, PATCH, EMBEDDING = 16, 32, 8, 24
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
TEXTS = ["a red square", "two small stars above a big moon in a night sky and a red square on it", "", "a blue circle"]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def words() -> Templated:
    return Ended(BPE.train(CAPTIONS * 5, 300)).templated()


def ids_of(vocabulary: int, end: int) -> Tensor:
    """Rows that end at different places; one has a second end token, which must not be read."""
    ids = torch.randint(1, vocabulary, (6, LENGTH), generator=torch.Generator().manual_seed(1))
    ids[ids.eq(end)] = 1
    for row in range(6):
        ids[row, 4 + 2 * row :] = 0
        ids[row, 4 + 2 * row] = end
    ids[0, -1] = end
    return ids


def images_of(size: int = SIZE) -> Tensor:
    return torch.rand(6, 3, size, size, generator=torch.Generator().manual_seed(2)) * 2 - 1


def normalised(images: Tensor, mean: Any, std: Any) -> Tensor:
    mean, std = (torch.tensor(one)[:, None, None] for one in (mean, std))
    return ((images + 1) / 2 - mean) / std


def our_loss(clip: CLIP, images: Tensor, ids: Tensor) -> Tensor:
    """The family's own, of ids instead of captions."""
    rows = [str(row) for row in range(len(ids))]

    class Rows(nn.Module):
        def forward(self, texts: Any) -> Tensor:
            return clip_text.pool(ids)

    clip_text = clip.text
    clip.text = Rows()
    try:
        return clip.loss(Batch(images, rows), torch.Generator())["loss"]
    finally:
        clip.text = clip_text


# ---------------------------------------------------------------------------------------------------
# open_clip and OpenAI.


def open_clip_config(*, quick: bool, vocabulary: int) -> dict[str, Any]:
    return {
        "embed_dim": EMBEDDING,
        "quick_gelu": quick,
        "vision_cfg": {
            "layers": 2, "width": 48, "head_width": 12, "mlp_ratio": 3.0, "patch_size": PATCH, "image_size": SIZE,
        },
        "text_cfg": {
            "context_length": LENGTH, "vocab_size": vocabulary, "width": 32, "heads": 4, "layers": 3, "mlp_ratio": 2.0,
        },
    }  # fmt: skip


def put_open_clip(folder: Path, model: nn.Module, config: dict[str, Any], words: Templated) -> None:
    folder.mkdir(exist_ok=True)
    about = {"model_cfg": config, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    (folder / "tokenizer.json").write_text(words.to_json())
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")


@pytest.mark.parametrize("quick", [False, True])
@torch.no_grad()
def test_features_and_loss_are_open_clip_s(open_clip: Any, words: Templated, tmp_path: Path, quick: bool) -> None:
    config = open_clip_config(quick=quick, vocabulary=words.size)
    theirs = scrambled(open_clip.CLIP(**config))
    put_open_clip(tmp_path / "theirs", theirs, config, words)
    ours = read_foreign(tmp_path / "theirs")
    ids, images = ids_of(words.size, words.end), images_of()
    pixels = normalised(images, MEAN, STD)
    assert error(ours.text.pool(ids), theirs.encode_text(ids)) < WITHIN
    assert error(ours.features(images), theirs.encode_image(pixels)) < WITHIN
    assert error(our_loss(ours, images, ids), open_clip.ClipLoss()(*theirs(pixels, ids))) < WITHIN
    other = open_clip.CLIP(**{**config, "quick_gelu": not quick}).eval()
    other.load_state_dict(theirs.state_dict())
    assert error(ours.text.pool(ids), other.encode_text(ids)) > 100 * WITHIN  # the activation matters
    write_foreign(tmp_path / "back", ours, "open_clip")
    again = load_file(tmp_path / "back/open_clip_model.safetensors")
    assert again.keys() == theirs.state_dict().keys()
    assert all(again[name].equal(one) for name, one in theirs.state_dict().items())
    assert json.loads((tmp_path / "back/open_clip_config.json").read_text())["model_cfg"] == config
    assert read_foreign(tmp_path / "back").config == ours.config


@torch.no_grad()
def test_openai_s_file_is_read_by_its_shapes(open_clip: Any, tmp_path: Path) -> None:
    """Its heads are 64 wide; beside the weights it has three constants, and its tokenizer is a list of merges."""
    merges = Path(open_clip.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    (tmp_path / merges.name).write_bytes(merges.read_bytes())
    config = {
        "embed_dim": EMBEDDING, "quick_gelu": True,
        "vision_cfg": {"layers": 2, "width": 128, "patch_size": PATCH, "image_size": SIZE},
        "text_cfg": {"context_length": LENGTH, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 3},
    }  # fmt: skip
    theirs = scrambled(open_clip.CLIP(**config))
    constants = {"input_resolution": SIZE, "context_length": LENGTH, "vocab_size": 49408}
    state = {name: one.half() for name, one in theirs.state_dict().items()}
    save_file({**state, **{name: torch.tensor(one) for name, one in constants.items()}}, tmp_path / "ViT.safetensors")
    theirs.load_state_dict(state)
    ours = read_foreign(tmp_path / "ViT.safetensors")
    images = images_of()
    pixels = normalised(images, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    tokens = open_clip.tokenize(TEXTS, context_length=LENGTH)
    assert error(ours.text(TEXTS), theirs.encode_text(tokens)) < WITHIN
    assert error(ours.features(images), theirs.encode_image(pixels)) < WITHIN
    save_file(state, tmp_path / "ViT.safetensors")
    with pytest.raises(InputError, match=r"ViT\.safetensors may be OpenAI's or open_clip's"):
        read_foreign(tmp_path / "ViT.safetensors")


def test_tokens_are_open_clip_s(open_clip: Any) -> None:
    texts = [
        *TEXTS, "It's  the\tdog's\n 2nd BALL!!", "caf\u00e9 na\u00efve \u00fcber", "a &lt;b&gt; &amp;amp; c",
        "ひまわり نجمة привет", "\U0001f469\u200d\U0001f680 rocket", "10,000 x 12.5%", "x" * 200, "word " * 90,
        "\u00bd \u2122",
    ]  # fmt: skip
    with gzip.open(Path(open_clip.__file__).with_name("bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as lines:
        ours = Templated.from_merges(lines)
    assert (ours.size, ours.end) == (49408, 49407)
    ids, mask = ours.encode(texts, 77)
    wanted = open_clip.tokenize(texts)
    for text, row, seen, theirs in zip(texts, ids, mask, wanted, strict=True):
        assert row[seen].tolist() == theirs[theirs.ne(0)].tolist(), text
    assert Templated.from_json(ours.to_json()).encode(texts, 77)[0].equal(ids)


# ---------------------------------------------------------------------------------------------------
# transformers.


def transformers_model(transformers: Any, *, vocabulary: int, end: int, act: str = "quick_gelu") -> nn.Module:
    config = transformers.CLIPConfig(
        projection_dim=EMBEDDING,
        text_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
            "max_position_embeddings": LENGTH, "vocab_size": vocabulary, "eos_token_id": end, "hidden_act": act,
        },
        vision_config={
            "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": SIZE, "patch_size": PATCH, "hidden_act": act,
        },
    )  # fmt: skip
    return scrambled(transformers.CLIPModel(config))


def put_transformers(folder: Path, model: Any, words: Templated) -> None:
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(words.to_json())
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))


def with_a_word_above(words: Templated) -> Templated:
    engine = Engine.from_str(words.to_json())
    engine.add_tokens(["zebra"])
    return Templated(engine)


@pytest.mark.parametrize(
    ("rule", "act"), [("end", "quick_gelu"), ("end", "gelu"), ("largest", "gelu"), ("end below others", "gelu")]
)
@torch.no_grad()
def test_features_and_loss_are_transformers(
    transformers: Any, words: Templated, tmp_path: Path, rule: str, act: str
) -> None:
    words = with_a_word_above(words) if rule == "end below others" else words
    end = 2 if rule == "largest" else words.end
    theirs = transformers_model(transformers, vocabulary=words.size, end=end, act=act)
    put_transformers(tmp_path / "theirs", theirs, words)
    ours = read_foreign(tmp_path / "theirs")
    ids, images = ids_of(words.size, words.end), images_of()
    if rule == "end below others":
        ids[:, 1] = words.size - 1
    wanted = theirs(input_ids=ids, pixel_values=normalised(images, MEAN, STD), return_loss=True)
    assert error(ours.text.pool(ids), theirs.get_text_features(ids).pooler_output) < WITHIN
    pixels = normalised(images, MEAN, STD)
    assert error(ours.features(images), theirs.get_image_features(pixels).pooler_output) < WITHIN
    assert error(our_loss(ours, images, ids), wanted.loss) < WITHIN
    write_foreign(tmp_path / "back", ours, "transformers")
    again = transformers.CLIPModel.from_pretrained(tmp_path / "back")
    assert all(again.state_dict()[name].equal(one) for name, one in theirs.state_dict().items())
    assert again.get_text_features(ids).pooler_output.equal(theirs.get_text_features(ids).pooler_output)
    assert read_foreign(tmp_path / "back").config == ours.config


@torch.no_grad()
def test_what_we_train_is_read_by_transformers(transformers: Any, tokenizer: BPE, tmp_path: Path) -> None:
    """From captions on: its tokenizer file gives the ids that ours were trained with."""
    clip = scrambled(CLIP(CLIP.presets["tiny"], tokenizer))
    write_foreign(tmp_path, clip, "transformers")
    theirs = transformers.CLIPModel.from_pretrained(tmp_path)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), pad_token="<pad>")
    ids = fast(TEXTS[:1] + TEXTS[2:], return_tensors="pt", padding=True)["input_ids"]
    found = theirs.get_text_features(ids).pooler_output
    assert error(clip.text(TEXTS[:1] + TEXTS[2:]), found) < WITHIN
    assert error(read_foreign(tmp_path).text(TEXTS), clip.text(TEXTS)) < WITHIN


# ---------------------------------------------------------------------------------------------------
# Strictly.


def test_an_end_token_that_is_not_the_largest_does_not_go_with_argmax(
    open_clip: Any, words: Templated, tmp_path: Path
) -> None:
    above = with_a_word_above(words)
    config = open_clip_config(quick=False, vocabulary=above.size)
    put_open_clip(tmp_path, open_clip.CLIP(**config), config, above)
    with pytest.raises(InputError, match=f"read at token {above.size - 1}, but the tokenizer ends them in {above.end}"):
        read_foreign(tmp_path)
