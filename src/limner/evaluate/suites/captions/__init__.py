"""The suite `captions`: how a model's pictures of held-out captions compare, for anybody's captioned pictures."""

from limner.evaluate.suites.captions.suite import captions

__all__ = ["captions"]
