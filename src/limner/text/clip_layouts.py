"""CLIP's text tower in other programs' files: the names of its weights, its config, and its tokenizer.

CLIPs and Stable Diffusions carry the same tower and are read by the same words.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from limner.core import InputError, check, parse
from limner.nn.prenorm import Activation
from limner.store.documents import read_json
from limner.text.clip import ClipTextConfig
from limner.text.ended import END, START, EndedTokenizer, Templated

EPS = 1e-5  # of every layer norm
LARGEST = 2  # what transformers wrote before it read the end token's own id: read at the largest, as all others do
TOKENIZER, VOCABULARY, MERGES = "tokenizer.json", "vocab.json", "merges.txt"
OPENAI_MERGES = "bpe_simple_vocab_16e6.txt.gz"
MOST_TEXT = 16 << 20  # bytes of a tokenizer

OPEN_CLIP = {  # and OpenAI's; keys are replaced in our names, one after the other
    "text.embed": "token_embedding", "text.place": "positional_embedding", "text.norm": "ln_final",
    "text.blocks": "transformer.resblocks", "text.project.weight": "text_projection",
    ".norm1.": ".ln_1.", ".into.": ".attn.in_proj_", ".out.": ".attn.out_proj.",
    ".norm2.": ".ln_2.", ".up.": ".mlp.c_fc.", ".down.": ".mlp.c_proj.",
}  # fmt: skip
TRANSFORMERS = {
    "text.embed": "text_model.embeddings.token_embedding", "text.norm": "text_model.final_layer_norm",
    "text.place": "text_model.embeddings.position_embedding.weight", "text.blocks": "text_model.encoder.layers",
    "text.project": "text_projection",
    ".norm1.": ".layer_norm1.", ".into.": ".self_attn.{qkv}_proj.", ".out.": ".self_attn.out_proj.",
    ".norm2.": ".layer_norm2.", ".up.": ".mlp.fc1.", ".down.": ".mlp.fc2.",
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------
# transformers' config.


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersTower:
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int = 12
    num_attention_heads: int
    hidden_act: Activation = "quick_gelu"
    layer_norm_eps: float = EPS
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        check(self.layer_norm_eps == EPS, f"layer_norm_eps = {self.layer_norm_eps} is not {EPS}, the one that is known")
        check(self.attention_dropout == 0.0, f"attention_dropout = {self.attention_dropout} is not 0; set it to 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersText(TransformersTower):
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    vocab_size: int = 49408
    eos_token_id: int = 49407

    @staticmethod
    def parse(values: Mapping[str, Any], where: str) -> TransformersText:
        """The many other keys say nothing of the mathematics."""
        return parse(TransformersText, {key: values[key] for key in NAMES if key in values}, where)

    def ours(self) -> ClipTextConfig:
        return ClipTextConfig(
            self.hidden_size, self.num_hidden_layers, self.num_attention_heads, self.intermediate_size,
            self.max_position_embeddings,
        )  # fmt: skip

    @staticmethod
    def of(text: ClipTextConfig, activation: Activation, tokenizer: EndedTokenizer) -> TransformersText:
        return TransformersText(
            hidden_size=text.width, intermediate_size=text.hidden, num_hidden_layers=text.depth,
            num_attention_heads=text.heads, hidden_act=activation, max_position_embeddings=text.length,
            vocab_size=tokenizer.size, eos_token_id=tokenizer.end,
        )  # fmt: skip


NAMES = [one.name for one in fields(TransformersText)]


def check_end(said: int, tokenizer: EndedTokenizer, where: Path) -> None:
    """The features are those of the end token; where the rule is the largest id, nothing may be above it."""
    end = tokenizer.size - 1 if said == LARGEST else said
    check(
        end == tokenizer.end, f"{where}: texts are read at token {end}, but the tokenizer ends them in {tokenizer.end}"
    )


# ---------------------------------------------------------------------------------------------------
# The tokenizer.


def read_tokenizer(folder: Path) -> Templated:
    """A tokenizer.json, transformers' vocab.json and merges.txt, or OpenAI's list of merges: the first there is."""
    found = find_tokenizer(folder)
    if found is None:
        raise InputError(
            f"{folder} has neither {TOKENIZER}, {VOCABULARY} with {MERGES} nor {OPENAI_MERGES}: "
            "put the model's own beside its weights"
        )
    return found


def find_tokenizer(folder: Path) -> Templated | None:
    """The same; None where there is none of them."""
    found = [name for name in READERS if (folder / name).is_file()]
    return tokenizer_at(folder / found[0]) if found else None


def tokenizer_at(path: Path) -> Templated:
    """That in a file of one of these kinds; one of another name is taken for a tokenizer.json."""
    with said_of(path):
        return READERS.get(path.name, _from_json)(path)


def _from_json(path: Path) -> Templated:
    return Templated.from_json(_text(path))


def _from_vocabulary(path: Path) -> Templated:
    merges = path.with_name(MERGES)
    if not merges.is_file():
        raise InputError(f"there is no {MERGES} beside it: copy the model's own there")
    return Templated.from_vocabulary(read_json(path), _text(merges).splitlines())


def _from_merges(path: Path) -> Templated:
    try:
        with gzip.open(path) as file:
            raw = file.read(MOST_TEXT + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"it is damaged ({error}); copy it again") from None
    return Templated.from_merges(_short(raw).splitlines())


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return _short(file.read(MOST_TEXT + 1))


def _short(raw: bytes) -> str:
    check(len(raw) <= MOST_TEXT, f"it has more than {MOST_TEXT:,} bytes, which no tokenizer has; copy it again")
    return raw.decode(errors="replace")


READERS: Mapping[str, Callable[[Path], Templated]] = {
    TOKENIZER: _from_json, VOCABULARY: _from_vocabulary, OPENAI_MERGES: _from_merges,
}  # fmt: skip


def transformers_tokenizer(tokenizer: Templated, *, pad: int, length: int) -> tuple[str, dict[str, bytes]]:
    """The class that transformers reads a tokenizer with, and its files."""
    model = json.loads(tokenizer.to_json())["model"]
    words = {number: word for word, number in tokenizer.vocabulary().items()}
    special = {"bos_token": words[tokenizer.start], "eos_token": words[tokenizer.end], "pad_token": words[pad]}
    whole = model.get("end_of_word_suffix") == "</w>" and {START, END} <= model["vocab"].keys()
    kind = "CLIPTokenizer" if whole else "PreTrainedTokenizerFast"
    special["unk_token"] = special["eos_token"]
    about = {"tokenizer_class": kind, "model_max_length": length, **special, "do_lower_case": True}
    files = {"tokenizer_config.json": _dumped(about), "special_tokens_map.json": _dumped(special)}
    if not whole:
        return kind, {**files, TOKENIZER: tokenizer.to_json().encode()}
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    vocabulary = json.dumps(model["vocab"], ensure_ascii=False).encode()
    return kind, {**files, VOCABULARY: vocabulary, MERGES: "\n".join(["#version: 0.2", *merges, ""]).encode()}


def _dumped(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()


@contextmanager
def said_of(where: Path) -> Iterator[None]:
    """Whatever is wrong inside is wrong with that file."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error) if str(where) in str(error) else f"{where}: {error}") from None
