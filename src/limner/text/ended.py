"""Tokenizers whose texts end in a token of its own, which is where CLIP's text tower looks for what the text says."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Engine
from torch import Tensor

from limner.core import InputError, Tokenizer
from limner.text.bpe import encodable

PAD = 0  # unseen by all that counts, so that any id will do
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
MERGES = 49_152 - 256 - 2  # that OpenAI's CLIP takes of its list
START, END = "<|startoftext|>", "<|endoftext|>"  # around each text, in CLIP's vocabulary


@runtime_checkable
class EndedTokenizer(Tokenizer, Protocol):
    """`encode` begins every text with the id `start` and ends it, the cut ones too, in the id `end`."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...

    def pieces(self, text: str) -> list[int]:
        """The ids of the text alone, uncut, without those around it: for those who join texts in a row of their own."""
        ...


def ended(tokenizer: Tokenizer) -> EndedTokenizer:
    """The tokenizer itself if it ends its texts, and otherwise one that does it for it."""
    return tokenizer if isinstance(tokenizer, EndedTokenizer) else Ended(tokenizer)


class Ended:
    """Another tokenizer, which begins each text with one token, and an end token, whose id is one above all of its."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @property
    def size(self) -> int:
        return self._tokenizer.size + 1

    @property
    def start(self) -> int:
        return self._alone("")[0]

    @property
    def end(self) -> int:
        return self._tokenizer.size

    def pieces(self, text: str) -> list[int]:
        return self._alone(text)[1:]

    def _alone(self, text: str) -> list[int]:
        ids, _ = self._tokenizer.encode([text], sys.maxsize)
        return [int(one) for one in ids[0]]

    def encode(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        ids, mask = self._tokenizer.encode(texts, length - 1)
        ids, mask = F.pad(ids, (0, 1), value=PAD), F.pad(mask, (0, 1))
        behind = mask.sum(dim=1, keepdim=True)
        return ids.scatter(1, behind, self.end), mask.scatter(1, behind, True)

    def to_json(self) -> str:
        return self._tokenizer.to_json()

    def templated(self) -> Templated:
        """The same as one tokenizer.json, for programs that know no end token but a tokenizer's own; `BPE` alone."""
        engine = Engine.from_str(self.to_json())
        engine.add_special_tokens(["<end>"])
        assert engine.token_to_id("<end>") == self.end
        engine.post_processor = template(engine, "<start>", "<end>")
        return Templated(engine)


class Templated:
    """A tokenizer of the `tokenizers` library that puts a start and an end token around each text by itself.

    Such are the tokenizer.json files of CLIP's models. What looks like one of these tokens in a text is
    the characters that it is written in.
    """

    def __init__(self, engine: Engine) -> None:
        engine.encode_special_tokens = True
        engine.no_padding()
        engine.no_truncation()
        around = engine.encode("").ids
        if len(around) != 2:
            raise InputError(
                f"this tokenizer puts {len(around)} tokens around a text; CLIP's puts two, a start and an end token"
            )
        self._engine, (self._start, self._end) = engine, around
        self._cleans = getattr(engine.model, "end_of_word_suffix", None) == "</w>"  # CLIP's vocabulary: cleaned text

    @staticmethod
    def from_json(text: str) -> Templated:
        try:
            engine = Engine.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise InputError(f"this is not a tokenizer of the `tokenizers` library: {error}") from None
        return Templated(engine)

    @staticmethod
    def from_merges(lines: Iterable[str]) -> Templated:
        """OpenAI's list of merges, bpe_simple_vocab_16e6.txt: a line of title, then a pair of tokens in each."""
        rows = [line.split() for line in list(lines)[1 : MERGES + 1]]
        if len(rows) != MERGES or any(len(row) != 2 for row in rows):
            raise InputError(f"this is not OpenAI's list of merges, which has a line of title and {MERGES:,} pairs")
        pairs = [(first, second) for first, second in rows]
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # a printable one for each byte
        tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, pairs), START, END]
        return Templated._of({token: place for place, token in enumerate(tokens)}, pairs)

    @staticmethod
    def from_vocabulary(vocabulary: Mapping[str, Any], lines: Sequence[str]) -> Templated:
        """The same as transformers stores it: the ids of tokens, and a list of merges under a line of title."""
        ids = [one for one in vocabulary.values() if type(one) is int]
        if sorted(ids) != list(range(len(vocabulary))):
            raise InputError("the tokens are not numbered from 0 on, one by one; copy it again")
        if missing := [token for token in (START, END) if token not in vocabulary]:
            raise InputError(f"there is no token {missing[0]}, which is put around each text; take CLIP's own")
        rows = [line.split() for line in lines if line.strip() and not line.startswith("#version")]
        for row in rows:
            if len(row) != 2 or not vocabulary.keys() >= {*row, "".join(row)}:
                raise InputError(f'"{" ".join(row)[:40]}" is no merge of two of its tokens; copy both again')
        return Templated._of(vocabulary, [(first, second) for first, second in rows])

    @staticmethod
    def _of(vocabulary: Mapping[str, int], pairs: Sequence[tuple[str, str]]) -> Templated:
        """CLIP's way of reading, whatever its tokens."""
        engine = Engine(models.BPE(dict(vocabulary), list(pairs), end_of_word_suffix="</w>"))
        engine.add_special_tokens([START, END])
        engine.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        engine.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        engine.decoder = decoders.ByteLevel()
        engine.post_processor = template(engine, START, END)
        return Templated(engine)

    @property
    def size(self) -> int:
        return int(self._engine.get_vocab_size())

    @property
    def start(self) -> int:
        return int(self._start)

    @property
    def end(self) -> int:
        return int(self._end)

    def pieces(self, text: str) -> list[int]:
        return list(self._engine.encode(self._readable(text), add_special_tokens=False).ids)

    def encode(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        found = self._engine.encode_batch([self._readable(text) for text in texts])
        rows = [[*one.ids[: length - 1], self.end] if len(one.ids) > length else one.ids for one in found]
        lengths = torch.tensor([len(row) for row in rows])
        longest = int(lengths.max()) if rows else 0
        ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
        return ids, torch.arange(longest) < lengths[:, None]

    def to_json(self) -> str:
        return str(self._engine.to_str())

    def vocabulary(self) -> dict[str, int]:
        """All tokens and their ids."""
        return dict(self._engine.get_vocab())

    def number(self, token: str) -> int | None:
        """Its id; None where it is none of the tokens."""
        found: int | None = self._engine.token_to_id(token)
        return found

    def _readable(self, text: str) -> str:
        plain = encodable(text)
        return _cleaned(plain) if self._cleans else plain


def template(engine: Engine, start: str, end: str) -> processors.TemplateProcessing:
    around = [(token, engine.token_to_id(token)) for token in (start, end)]
    return processors.TemplateProcessing(single=f"{start} $A {end}", special_tokens=around)


def _cleaned(text: str) -> str:
    """What OpenAI's tokenizer does before it, but for ftfy's mending of mojibake."""
    return html.unescape(html.unescape(text)).strip()
