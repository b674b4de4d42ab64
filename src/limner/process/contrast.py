"""Telling pairs from strangers: pictures pick their texts, and texts their pictures (Radford et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrast(images: Tensor, texts: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """The loss of features (B, E) and (B, E), row by row a pair's, with the inverse temperature `scale`.

    `nearest` is the share of pictures whose own text is the nearest.
    """
    with torch.autocast(images.device.type, enabled=False):  # a scale of 100 makes bfloat16's errors whole logits
        logits = scale * F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T
    own = torch.arange(len(logits), device=logits.device)
    loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    return {"loss": loss, "nearest": logits.detach().argmax(dim=1).eq(own).float().mean()}
