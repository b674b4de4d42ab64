"""Text to vectors. A tokenizer is saved with its model and comes back through `load_tokenizer`."""

from __future__ import annotations

from limner.core import Tokenizer


def load_tokenizer(text: str) -> Tokenizer:
    """The tokenizer that `to_json` wrote; InputError if it is none of ours."""
    from limner.text.bpe import BPE

    return BPE.from_json(text)
