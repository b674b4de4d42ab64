"""Byte-level byte-pair encoding, learnt from captions with the `tokenizers` library (Sennrich et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from limner.core import InputError

PAD, START = 0, 1


class BPE:
    """A `core.Tokenizer`. Each text begins with START, so that the empty prompt too has something to attend to.

    Letters are lower-cased and compatibility forms folded (NFKC): small models should not learn
    "Stop" and "stop" apart. Bytes are the alphabet, so no string is out of vocabulary.
    """

    def __init__(self, engine: Engine) -> None:
        engine.encode_special_tokens = True  # somebody's "<pad>" is five characters, not our padding
        self._engine = engine

    @staticmethod
    def train(captions: Iterable[str], size: int) -> BPE:
        """Learn a vocabulary of at most `size` tokens (at least 258: two special ones and the bytes)."""
        if size < 258:
            raise InputError(
                f"a byte-level vocabulary needs 258 tokens or more, not {size}; set vocabulary = 4096, say"
            )
        engine = Engine(models.BPE())
        engine.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        engine.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=["<pad>", "<start>"], initial_alphabet=alphabet, show_progress=False
        )
        engine.train_from_iterator(map(encodable, captions), trainer)
        return BPE(engine)

    @staticmethod
    def from_json(text: str) -> BPE:
        try:
            return BPE(Engine.from_str(text))
        except Exception as error:  # the library raises bare Exception
            raise InputError(f"this is not a tokenizer of the `tokenizers` library: {error}") from None

    def to_json(self) -> str:
        return str(self._engine.to_str())

    @property
    def size(self) -> int:
        return int(self._engine.get_vocab_size())

    def encode(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        rows = [[START, *one.ids][:length] for one in self._engine.encode_batch([encodable(text) for text in texts])]
        longest = max(map(len, rows), default=1)
        ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
        return ids, ids.ne(PAD)

    def count(self, text: str) -> int:
        """How many tokens the text takes, START included: more than a model's `length` are cut."""
        return 1 + len(self._engine.encode(encodable(text)).ids)


def encodable(text: str) -> str:
    """Lone surrogates are legal in a Python string and in no encoding: they become question marks."""
    return text.encode("utf-8", "replace").decode()
