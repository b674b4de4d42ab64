"""A model on disk: safetensors, JSON and the SHA-256 of each; strict; never a pickle.

`folder` reads and writes whole models, `weights` knows what a safetensors file may be, `files` writes so
that a reader sees the old or the new and never half of either.
"""

from __future__ import annotations

from limner.store.files import atomic_write
from limner.store.folder import Description, Stored, describe, holds_model, read, write

__all__ = ["Description", "Stored", "atomic_write", "describe", "holds_model", "read", "write"]
