"""CLIPs in other programs' files, there and back, and what is refused. tests/oracles compares with the programs."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Engine
from torch import Tensor

from limner import families
from limner.core import InputError, Tokenizer
from limner.families.clip import CLIP
from limner.families.clip_layouts import MEAN, holds_foreign, read_foreign, weights, write_foreign
from limner.text.ended import Ended, Templated

PROGRAMS = ["open_clip", "transformers"]
CONFIGS = {"open_clip": "open_clip_config.json", "transformers": "config.json"}
TEXTS = ["a red square", "", "a blue circle"]


@pytest.fixture
def clip(tokenizer: Tokenizer) -> CLIP:
    torch.manual_seed(0)
    clip = CLIP(CLIP.presets["tiny"], tokenizer)
    with torch.no_grad():
        for one in clip.parameters():
            one.add_(torch.randn_like(one) * 0.1)
    return clip.eval()


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(clip: CLIP, program: Any, tmp_path: Path) -> Path:
    write_foreign(tmp_path / program, clip, program)
    return tmp_path / program


def changed(folder: Path, **tensors: Tensor | None) -> None:
    found = load_file(weights(folder))
    found.update({name: one for name, one in tensors.items() if one is not None})
    save_file({name: one for name, one in found.items() if tensors.get(name, one) is not None}, weights(folder))


def test_there_and_back_all_is_the_same(clip: CLIP, folder: Path) -> None:
    assert holds_foreign(folder)
    again = read_foreign(folder)
    assert not again.training
    assert again.config == clip.config
    assert all(again.state_dict()[name].equal(one) for name, one in clip.state_dict().items())
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(
        again.embed_images(images), clip.embed_images(images)
    )  # lying elsewhere, rounded otherwise
    torch.testing.assert_close(again.embed_texts(TEXTS), clip.embed_texts(TEXTS))


def test_half_precision_is_widened(clip: CLIP, folder: Path) -> None:
    save_file({name: one.half() for name, one in load_file(weights(folder)).items()}, weights(folder))
    again = read_foreign(folder)
    assert all(one.dtype == torch.float32 for one in again.parameters())
    torch.testing.assert_close(again.embed_texts(TEXTS), clip.embed_texts(TEXTS), atol=1e-2, rtol=0)


def test_every_weight_must_be_there_and_no_other(folder: Path) -> None:
    changed(folder, logit_scale=None, logit_bias=torch.zeros(()))
    with pytest.raises(InputError) as caught:
        read_foreign(folder)
    message = str(caught.value)
    assert str(weights(folder)) in message
    assert "logit_scale is missing, logit_bias is unknown" in message
    assert "\n" not in message


def test_a_weight_of_another_shape_is_named_as_the_file_names_it(folder: Path, program: str) -> None:
    names = {"open_clip": "token_embedding.weight", "transformers": "text_model.embeddings.token_embedding.weight"}
    changed(folder, **{names[program]: torch.zeros(7, 32)})
    with pytest.raises(InputError, match=f"{names[program]} is 7 x 32 where it should be"):
        read_foreign(folder)


def test_a_pickle_is_refused(folder: Path) -> None:
    weights(folder).write_bytes(b"\x80\x04cos\nsystem\n(S'touch canary'\ntR." + b" " * 64)
    with pytest.raises(InputError, match="is a Python pickle"):
        read_foreign(folder)


def test_where_files_are_silent_the_normalisation_is_openai_s(folder: Path, program: str) -> None:
    if program == "open_clip":
        about = json.loads((folder / "open_clip_config.json").read_text())
        del about["preprocess_cfg"]
        (folder / "open_clip_config.json").write_text(json.dumps(about))
    else:
        (folder / "preprocessor_config.json").unlink()
    assert read_foreign(folder).config.mean == MEAN


def test_older_transformers_files_carry_positions_and_an_inner_config(clip: CLIP, tmp_path: Path) -> None:
    """What the buffers hold is known, and `text_config_dict` is what counts."""
    write_foreign(tmp_path, clip, "transformers")
    changed(tmp_path, **{f"{one}_model.embeddings.position_ids": torch.arange(3)[None] for one in ("text", "vision")})
    about = json.loads((tmp_path / "config.json").read_text())
    about["text_config_dict"], about["text_config"] = about["text_config"], {"hidden_size": 999}
    about["vision_config_dict"] = None
    (tmp_path / "config.json").write_text(json.dumps(about))
    torch.testing.assert_close(read_foreign(tmp_path).embed_texts(TEXTS), clip.embed_texts(TEXTS))


FAULTS: list[tuple[str, list[str], Any, str]] = [
    ("open_clip", ["model_cfg", "vision_cfg", "timm_model_name"], "vit_b", 'unknown key "timm_model_name"'),
    ("open_clip", ["model_cfg", "text_cfg", "width"], "wide", "text_cfg: width = 'wide' is a str"),
    ("open_clip", ["model_cfg", "vision_cfg", "head_width"], 0, "head_width = 0 must be above 0"),
    ("open_clip", ["model_cfg", "text_cfg", "heads"], 5, "config.json: width = 32 does not divide into heads = 5"),
    ("open_clip", ["model_cfg"], {}, 'the key "embed_dim" is missing'),
    ("open_clip", ["preprocess_cfg", "mean"], [0.5], "mean = [0.5] has 1 values, not 3"),
    ("transformers", ["vision_config", "hidden_act"], "gelu_new", "hidden_act = 'gelu_new' is not one of"),
    ("transformers", ["vision_config", "hidden_act"], "quick_gelu", "make them one"),
    ("transformers", ["text_config", "layer_norm_eps"], 1e-6, "layer_norm_eps = 1e-06 is not 1e-05"),
    ("transformers", ["text_config", "attention_dropout"], 0.1, "attention_dropout = 0.1 is not 0"),
    ("transformers", ["text_config", "eos_token_id"], 5, "texts are read at token 5, but the tokenizer ends them in"),
]


@pytest.mark.parametrize(("program", "path", "value", "message"), FAULTS)
def test_what_our_clip_cannot_compute_is_refused(
    clip: CLIP, tmp_path: Path, program: Any, path: list[str], value: Any, message: str
) -> None:
    write_foreign(tmp_path, clip, program)
    about = json.loads((tmp_path / CONFIGS[program]).read_text())
    holder = about
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    (tmp_path / CONFIGS[program]).write_text(json.dumps(about))
    with pytest.raises(InputError) as caught:
        read_foreign(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_legacy_end_token_means_the_largest(clip: CLIP, tmp_path: Path) -> None:
    write_foreign(tmp_path, clip, "transformers")
    about = json.loads((tmp_path / "config.json").read_text())
    about["text_config"]["eos_token_id"] = 2
    (tmp_path / "config.json").write_text(json.dumps(about))
    torch.testing.assert_close(read_foreign(tmp_path).embed_texts(TEXTS), clip.embed_texts(TEXTS))


def test_a_tokenizer_must_lie_beside_the_weights(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"neither tokenizer\.json, vocab\.json with merges\.txt nor bpe_simple_vocab"):
        read_foreign(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "bpe_simple_vocab_16e6.txt.gz"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe", gzip.compress(b"a title" * 99)[:-9], gzip.compress(b"a\nb c\n")])
def test_a_damaged_tokenizer_is_one_line_that_names_it(folder: Path, name: str, data: bytes) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_foreign(folder)
    assert str(caught.value).startswith(f"{folder / name}: ")


def test_what_ends_below_its_largest_id_is_not_written_for_who_reads_there(clip: CLIP, tmp_path: Path) -> None:
    assert isinstance(clip.text.tokenizer, Ended)
    engine = Engine.from_str(clip.text.tokenizer.templated().to_json())
    engine.add_tokens(["zebra"])
    above = CLIP(CLIP.presets["tiny"], Templated(engine))
    with pytest.raises(InputError, match=f"read at token {above.tokenizer.size - 1}, but the tokenizer ends them in"):
        write_foreign(tmp_path / "open", above, "open_clip")
    assert not (tmp_path / "open").exists()
    write_foreign(tmp_path / "hf", above, "transformers")
    assert read_foreign(tmp_path / "hf").text.tokenizer.end == clip.text.tokenizer.end


@pytest.mark.parametrize(("width", "hidden"), [(49, 54), (100, 403), (64, 256), (32, 100)])
def test_a_ratio_of_sizes_comes_back_as_the_size(tokenizer: Tokenizer, tmp_path: Path, width: int, hidden: int) -> None:
    """54 / 49 times 49 is 53.99... in floats, which open_clip rounds down."""
    tiny = CLIP.presets["tiny"]
    config = replace(tiny, vision=replace(tiny.vision, width=width, heads=1, hidden=hidden))
    write_foreign(tmp_path, CLIP(config, tokenizer), "open_clip")
    assert read_foreign(tmp_path).config == config


def test_a_file_alone_does_not_say_how_it_computes(folder: Path) -> None:
    with pytest.raises(InputError, match=r"may be OpenAI's or open_clip's|is not a CLIP"):
        read_foreign(weights(folder))


def test_our_own_model_folders_are_not_foreign(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"limner": "1", "family": "clip", "config": {}}')
    assert not holds_foreign(tmp_path)


def test_a_model_from_elsewhere_becomes_one_of_ours(clip: CLIP, folder: Path, tmp_path: Path) -> None:
    families.save(tmp_path / "ours", read_foreign(folder))
    ours = families.load(tmp_path / "ours")
    assert isinstance(ours, CLIP)
    assert not holds_foreign(tmp_path / "ours")
    assert not holds_foreign(tmp_path / "ours/model.safetensors")
    torch.testing.assert_close(ours.embed_texts(TEXTS), clip.embed_texts(TEXTS))
