"""A family is made ready by what it names; precision and compilation are chosen by the machine, or as asked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limner import engine
from limner.core import Family, InputError
from limner.engine import compiled, layers, packed, precision, ready
from limner.engine.allocator import LEAST, Pool
from limner.engine.kernels import HALVES
from limner.nn.unet import UNet, UNetConfig

SMALL = UNetConfig(widths=(16, 32), blocks=1, depths=(1, 1), heads=(2, 2), context=12, groups=8)
CPU = torch.device("cpu")


class Named(Family):
    """A family of a U-Net, a codec and a part that it does not name."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.unet, self.codec, self.judge = UNet(SMALL), nn.Conv2d(3, 4, 3), nn.Linear(4, 4)
        self.codec.register_buffer("count", torch.tensor(3))

    def networks(self) -> list[nn.Module]:
        return [self.unet, self.codec]


def dtypes(module: nn.Module) -> set[torch.dtype]:
    return {one.dtype for one in module.parameters()}


@pytest.fixture
def every_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made ready in it need not be drawn with."""
    monkeypatch.setattr(precision, "can_compute", lambda precision, device: True)


@pytest.mark.usefixtures("every_precision")
def test_what_it_names_is_narrowed_and_its_unet_packed() -> None:
    family = Named()
    assert engine.prepared(family, precision="bf16") is family
    assert dtypes(family.unet) == dtypes(family.codec) == {torch.bfloat16}
    assert dtypes(family.judge) == {torch.float32}
    assert family.codec.count.dtype is torch.int64
    assert isinstance(family.unet.conv_in, layers.Convolution)
    assert isinstance(family.codec, nn.Conv2d)


def test_in_float32_weights_stay_as_they_are_where_kernels_widen_them() -> None:
    """Biases and norms are wide at once, and so is whatever no kernel takes."""
    for compile, kept in (("auto", torch.float16), ("off", torch.float32)):
        family = Named()
        for network in family.networks():
            network.half()
        engine.prepared(family, precision="fp32", compile=compile)
        held = [layer for layer in family.unet.modules() if isinstance(layer, layers.Layer)]
        assert held
        assert {layer.source.dtype for layer in held} == {kept}
        assert {layer.bias.dtype for layer in held if layer.bias is not None} == {torch.float32}
        assert dtypes(family.unet) == dtypes(family.codec) == {torch.float32}


def test_a_family_that_names_nothing_stays_as_it_is() -> None:
    class Quiet(Named):
        networks = Family.networks

    family = Quiet()
    engine.prepared(family, precision="bf16")
    assert dtypes(family) == {torch.float32}
    assert isinstance(family.unet.conv_in, nn.Conv2d)


@pytest.mark.parametrize(("features", "chosen"), [
    ({"amx_bf16": True, "avx512_bf16": True}, torch.bfloat16),
    ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, torch.bfloat16),
    ({"avx512_bf16": True, "cpu_name": "Intel(R) Xeon(R) Processor"}, torch.float32),
    ({"avx512_bf16": False, "cpu_name": "AMD EPYC"}, torch.float32),
    ({"bf16": True}, torch.bfloat16),
    ({}, torch.float32),
])  # fmt: skip
def test_bf16_is_chosen_where_it_is_multiplied_faster(
    features: dict[str, bool | str], chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert precision.dtype_for("auto", CPU) is chosen


INTEL = {"avx512_fp16": True, "avx512_bf16": True, "cpu_name": "Intel(R) Xeon(R) Processor"}


@pytest.mark.parametrize(("made", "kernels", "chosen"), [
    (True, True, torch.bfloat16), (True, False, torch.float32), (False, True, torch.float32),
])  # fmt: skip
def test_where_halves_alone_are_fast_bf16_is_chosen_with_kernels(
    made: bool, kernels: bool, chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: INTEL)
    monkeypatch.setattr(precision, "load", lambda name, machine: "it" if made and machine == HALVES else None)
    assert precision.dtype_for("auto", CPU, kernels=kernels) is chosen


def test_a_precision_that_is_asked_for_is_taken_and_an_unknown_one_refused() -> None:
    assert precision.dtype_for("bf16", CPU) is torch.bfloat16
    assert precision.dtype_for("fp32", CPU) is torch.float32
    with pytest.raises(InputError, match='precision = "int8" is not one of auto, fp32, bf16, fp16'):
        precision.dtype_for("int8", CPU)


def test_what_a_processor_has_no_instructions_for_is_refused_before_anything_is_narrowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(precision.ONEDNN_HAS, "bf16", "_is_mkldnn_fp16_supported")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", lambda: False)
    assert not precision.can_compute("bf16", CPU)
    assert precision.can_compute("bf16", torch.device("cuda"))
    family = Named()
    with pytest.raises(InputError, match='precision = "bf16" is not for this processor'):
        engine.prepared(family, precision="bf16")
    assert dtypes(family) == {torch.float32}


def test_on_a_cpu_nothing_is_compiled_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(UNet, "compile", lambda self, dynamic: asked.append("unet"))
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # noted, so that what is set below is undone
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    engine.prepared(Named(), precision="fp32", calls=10_000)
    assert asked == []
    family = Named()
    engine.prepared(family, precision="fp32", compile="on")
    assert asked == ["unet"]
    assert isinstance(family.unet.conv_in, nn.Conv2d)
    assert str(compiled.folder()) == "/somewhere/limner/compiled"


@pytest.mark.usefixtures("every_precision")
@pytest.mark.parametrize(("compile", "kernels"), [("auto", True), ("off", False)])
def test_where_nothing_is_to_be_compiled_kernels_neither(compile: str, kernels: bool) -> None:
    family = engine.prepared(Named(), precision="bf16", compile=compile)
    kinds = (packed.SelfAttention, packed.CrossAttention, layers.Convolution)
    replaced = [layer for layer in family.networks()[0].modules() if isinstance(layer, kinds)]
    assert replaced
    assert all(layer.kernels is kernels for layer in replaced)


def test_compiling_without_a_compiler_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compiler", lambda: None)
    with pytest.raises(InputError, match="compile = on needs a C"):
        engine.prepared(Named(), compile="on")
    with pytest.raises(InputError, match='compile = "maybe" is not one of auto, on, off'):
        engine.prepared(Named(), compile="maybe")


def test_at_rest_the_memory_of_maps_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    monkeypatch.setattr(ready, "pool", pool)
    pool.empty((LEAST,), torch.float32)
    assert any(pool._left.values())
    engine.rest(Named())
    assert not any(pool._left.values())
