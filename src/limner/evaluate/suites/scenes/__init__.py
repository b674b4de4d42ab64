"""The suite `scenes`: whether a model draws what captions of scenes ask, seen in training, unseen, and beyond it."""

from limner.evaluate.suites.scenes.suite import report, run

__all__ = ["report", "run"]
