"""Where our own kernels can be had."""

from __future__ import annotations

import shutil

import pytest
import torch

from limner.engine import kernels

HERE = all(torch.cpu.get_capabilities().get(name) for name in kernels.NEEDED) and shutil.which("gcc") is not None
with_kernel = pytest.mark.skipif(not HERE, reason="needs a processor with AMX, and gcc")
