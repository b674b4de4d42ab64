"""Text to vectors. A tokenizer is saved with its model and comes back through `load_tokenizer`."""

from __future__ import annotations

import json

from limner.core import InputError, Tokenizer


def load_tokenizer(text: str) -> Tokenizer:
    """The tokenizer that `to_json` wrote; InputError if it is none of ours.

    CLIP's put tokens around a text by a template of their own (their `post_processor`); ours have none.
    """
    from limner.text.bpe import BPE
    from limner.text.ended import Templated

    return Templated.from_json(text) if _has_template(text) else BPE.from_json(text)


def _has_template(text: str) -> bool:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"this is not a tokenizer: it is not JSON ({error})") from None
    return isinstance(values, dict) and values.get("post_processor") is not None
