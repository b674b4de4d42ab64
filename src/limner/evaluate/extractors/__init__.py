"""Pictures in, features out. Those that need weights take them from a file that somebody gives (docs/metrics.md).

Without a file: `Pixels`, `Histograms`, `RandomNetwork`.
"""

from __future__ import annotations

from limner.evaluate.extractors.dinov2 import DINOv2
from limner.evaluate.extractors.dual_encoder import DualEncoder
from limner.evaluate.extractors.encoder import ImageEncoder
from limner.evaluate.extractors.histograms import Histograms
from limner.evaluate.extractors.inception import Inception
from limner.evaluate.extractors.pixels import Pixels
from limner.evaluate.extractors.random_network import RandomNetwork
from limner.evaluate.extractors.resize import CLEAN, PILLOW, TENSORFLOW, Resize, of_image, signed

__all__ = [
    "CLEAN", "PILLOW", "TENSORFLOW", "DINOv2", "DualEncoder", "Histograms", "ImageEncoder", "Inception", "Pixels",
    "RandomNetwork", "Resize", "of_image", "signed",
]  # fmt: skip
