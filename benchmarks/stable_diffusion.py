"""Stable Diffusion on a CPU beside its peers, all with the same random weights at full size.

    python benchmarks/stable_diffusion.py step [--peers NAME ...] [--rounds 7]     one guided step
    python benchmarks/stable_diffusion.py vae [--peers NAME ...] [--rounds 7]      latents to a picture

Of SD 1.5 at 512 x 512, or of another --model at its own size: sd2 (768 x 768), sdxl (1024 x 1024).

Rounds alternate in one process; a figure is the median of its rounds, a ratio the median of the rounds' ratios. The
share is the arithmetic of the plain network over time, of what the same rounds' 4096^3 matrix product in bf16 reached.
Where nobody who is asked draws in bf16, it is of the float32 product: without units for it, one in bf16 takes minutes.
"best" is the shortest of the rounds, for a machine whose neighbours come and go.
--quiet 0.8 waits, before each is timed, for the units that multiply bf16, which virtual machines may share without
knowing: until a small product reaches 0.8 of the best rate seen. What another such product, just after, finds slower
is timed again. Of what had to be taken as it was, "disturbed" tells the number.
A peer that is not installed is left out. Peers: diffusers as it comes, in bf16, compiled; OpenVINO with static shapes.
Whole pictures, from the start of a process to the file, are timed by pictures.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from limner import engine
from limner.codecs.vae import VAE
from limner.families.stable_diffusion import Config, StableDiffusion
from limner.families.stable_diffusion_layouts.configs import AutoencoderKL, UNet2DConditionModel
from limner.nn.unet import UNet
from limner.text.conditioning import embed_sizes

BF16, FP32 = torch.bfloat16, torch.float32
SIDE = 4096  # of the matrix product
PROBE, PROBES, PATIENCE, TRIES = 2048, 5, 10.0, 4  # the small product and how often; seconds; times
AGREE = {FP32: 1e-3, BF16: 5e-2}  # relative error against the plain network in float32

Run = Callable[[], Tensor]
Clock = Callable[[], float]
CLOCKS: Mapping[str, Clock] = {"wall": time.perf_counter, "processor": time.process_time}
State = Mapping[str, Tensor]


# ---------------------------------------------------------------------------------------------------
# What is run: a guided step, a decoding.


class Step:
    """The U-Net over a latent with and without its text: ours is given it once, where the times of both are alike,
    others twice, as they ask for it."""

    theirs = "UNet2DConditionModel"

    def __init__(self, model: Config) -> None:
        self.config, self.pixels, self.side = model.unet, model.image_size, model.image_size // model.vae.factor
        self.pooled = model.text.pooled if model.unet.added else 0  # width of the texts' vectors

    @property
    def settings(self) -> Mapping[str, Any]:
        return UNet2DConditionModel.of(self.config, sample_size=self.side)

    def build(self) -> nn.Module:
        return UNet(self.config)

    def inputs(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """A latent, its time, two texts and, for SDXL, their vectors and sizes."""
        generator = torch.Generator().manual_seed(1)

        def drawn(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(dtype)

        inputs = drawn(1, 4, self.side, self.side), torch.tensor([500.0]), drawn(2, 77, self.config.context)
        if not self.pooled:
            return inputs
        sizes = torch.tensor([[self.pixels, self.pixels, 0, 0, self.pixels, self.pixels]] * 2)
        return *inputs, drawn(2, self.pooled), sizes

    def call(self, network: nn.Module, x: Tensor, t: Tensor, context: Tensor, *vectors: Tensor) -> Tensor:
        if vectors:
            return self.call_plain(network, x, t, context, *vectors)
        out: Tensor = network(x, t, context)
        return out

    def call_plain(self, network: nn.Module, x: Tensor, t: Tensor, context: Tensor, *vectors: Tensor) -> Tensor:
        added = embed_sizes(*vectors) if vectors else None
        out: Tensor = network(x.repeat(2, 1, 1, 1), t.repeat(2), context, added)
        return out

    def call_theirs(self, network: nn.Module, x: Tensor, t: Tensor, context: Tensor, *vectors: Tensor) -> Tensor:
        added = dict(zip(("text_embeds", "time_ids"), vectors, strict=True)) if vectors else None
        given = x.repeat(2, 1, 1, 1), t.repeat(2), context
        out: Tensor = network(*given, added_cond_kwargs=added, return_dict=False)[0]
        return out


class Decoding:
    """The autoencoder's way back."""

    theirs = "AutoencoderKL"

    def __init__(self, model: Config) -> None:
        self.config, self.side = replace(model.vae, scale=1.0), model.image_size // model.vae.factor

    @property
    def settings(self) -> Mapping[str, Any]:
        return AutoencoderKL.of(self.config, sample_size=8 * self.side)

    def build(self) -> nn.Module:
        return VAE(self.config)

    def inputs(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return (torch.randn((1, 4, self.side, self.side), generator=torch.Generator().manual_seed(1)).to(dtype),)

    def call(self, network: Any, *inputs: Tensor) -> Tensor:
        out: Tensor = network.decode(*inputs)
        return out

    call_plain = call

    def call_theirs(self, network: Any, *inputs: Tensor) -> Tensor:
        out: Tensor = network.decode(*inputs, return_dict=False)[0]
        return out


Work = Step | Decoding
MODELS: Mapping[str, Config] = {name: StableDiffusion.presets[name] for name in ("sd1", "sd2", "sdxl")}


def weights(work: Work) -> dict[str, Tensor]:
    """Random ones in bf16, so that no precision has to round them; what training begins at zero is not zero here."""
    torch.manual_seed(0)
    network = work.build()
    for one in network.parameters():
        if not one.any():
            nn.init.normal_(one, std=0.02)
    return {name: one.detach().to(BF16) for name, one in network.state_dict().items()}


def loaded(build: Callable[[], nn.Module], state: State, dtype: torch.dtype) -> nn.Module:
    """With a copy of its own."""
    with torch.device("meta"):  # SDXL's in float32 twice would be too much
        network = build()
    network.load_state_dict({name: one.to(dtype, copy=True) for name, one in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


# ---------------------------------------------------------------------------------------------------
# Who runs it.


def ours(work: Work, state: State, dtype: torch.dtype) -> Run:
    network, inputs = loaded(work.build, state, dtype), work.inputs(dtype)
    engine.prepare(network, dtype)
    return lambda: work.call(network, *inputs)


def diffusers(work: Work, state: State, dtype: torch.dtype, *, channels_last: bool = False) -> Run:
    network, inputs = theirs(work, state, dtype, channels_last=channels_last), work.inputs(dtype)
    return lambda: work.call_theirs(network, *inputs)


def compiled(work: Work, state: State, dtype: torch.dtype) -> Run:
    network, inputs = theirs(work, state, dtype, channels_last=True), work.inputs(dtype)
    call = torch.compile(work.call_theirs)
    return lambda: call(network, *inputs)


def openvino(work: Work, state: State, dtype: torch.dtype) -> Run:
    """From a saved model, of static shapes, the precision as a hint: what its documentation advises."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        _convert(work, state, Path(folder) / "model.xml", narrow=dtype is not FP32)
        hints = {"INFERENCE_PRECISION_HINT": {FP32: "f32", BF16: "bf16"}[dtype], "PERFORMANCE_HINT": "LATENCY"}
        hints |= {"INFERENCE_NUM_THREADS": str(torch.get_num_threads())}
        model = openvino.Core().compile_model(Path(folder) / "model.xml", "CPU", hints)
    request, given = model.create_infer_request(), [one.numpy() for one in work.inputs(FP32)]
    return lambda: torch.from_numpy(request.infer(given)[0])


def _convert(work: Work, state: State, path: Path, *, narrow: bool) -> None:
    """With weights in half precision, as it comes, or as they are."""
    import openvino

    network, inputs = theirs(work, state, FP32), work.inputs(FP32)
    converted = openvino.convert_model(Wrapped(work, network), example_input=inputs)
    converted.reshape({port: list(given.shape) for port, given in zip(converted.inputs, inputs, strict=True)})
    openvino.save_model(converted, path, compress_to_fp16=narrow)


class Wrapped(nn.Module):
    """Their network with tensors going in and one coming out."""

    def __init__(self, work: Work, network: nn.Module) -> None:
        super().__init__()
        self.work, self.network = work, network

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.work.call_theirs(self.network, *inputs)


def theirs(work: Work, state: State, dtype: torch.dtype, *, channels_last: bool = False) -> nn.Module:
    """The network of diffusers."""
    kind = getattr(importlib.import_module("diffusers"), work.theirs)
    network = loaded(partial(kind.from_config, work.settings), state, dtype)
    return network.to(memory_format=torch.channels_last) if channels_last else network


PEERS: Mapping[str, tuple[Callable[[Work, State], Run], torch.dtype]] = {
    "ours fp32": (lambda work, state: ours(work, state, FP32), FP32),
    "ours bf16": (lambda work, state: ours(work, state, BF16), BF16),
    "diffusers fp32": (lambda work, state: diffusers(work, state, FP32), FP32),
    "diffusers bf16": (lambda work, state: diffusers(work, state, BF16), BF16),
    "diffusers bf16 channels_last": (lambda work, state: diffusers(work, state, BF16, channels_last=True), BF16),
    "compiled fp32": (lambda work, state: compiled(work, state, FP32), FP32),
    "compiled bf16": (lambda work, state: compiled(work, state, BF16), BF16),
    "openvino fp32": (lambda work, state: openvino(work, state, FP32), FP32),
    "openvino bf16": (lambda work, state: openvino(work, state, BF16), BF16),
}


# ---------------------------------------------------------------------------------------------------
# Rounds in one process.


@torch.no_grad()
def alternate(work: Work, names: list[str], rounds: int, timed: Timed) -> dict[str, Any]:
    state = weights(work)
    plain = loaded(work.build, state, FP32)
    with torch.enable_grad():  # without short cuts
        flops, expected = counted(work, plain), work.call_plain(plain, *work.inputs(FP32))
    del plain
    runs, first = {}, {}
    for name in names:
        build, dtype = PEERS[name]
        started = time.perf_counter()
        try:
            runs[name] = build(work, state)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        found = runs[name]().float()
        first[name] = time.perf_counter() - started
        error = float((found - expected).norm() / expected.norm())
        print(f"{name}: first after {first[name]:.1f} s, relative error {error:.1e}", file=sys.stderr)
        if error > AGREE[dtype]:
            raise SystemExit(f"{name} computes something else")
    precisions = {name.split()[1]: PEERS[name][1] for name in runs}
    return figures(measured(runs, precisions, rounds, timed), flops, first) | {"disturbed": timed.disturbed}


def measured(
    runs: Mapping[str, Run], precisions: Mapping[str, torch.dtype], rounds: int, timed: Timed
) -> dict[str, list[float]]:
    """Seconds of each, and of the matrix product in each of the precisions."""
    factors = {f"product {name}": torch.randn(SIDE, SIDE).to(one) for name, one in precisions.items()}
    products: dict[str, Run] = {name: (lambda one=one: one @ one) for name, one in factors.items()}
    everything = {**runs, **products}
    seconds: dict[str, list[float]] = {name: [] for name in everything}
    for number in range(rounds):
        for name, run in everything.items():
            seconds[name].append(timed(name, run))
        print(f"round {number}:", {name: round(found[-1], 3) for name, found in seconds.items()}, file=sys.stderr)
    return seconds


class Timed:
    """Seconds of a run: as it comes, or with `quiet` above 0 when the machine is as quiet as it is seen to be."""

    def __init__(self, clock: Clock, quiet: float) -> None:
        self._clock, self._quiet, self._best = clock, quiet, 0.0
        self._factor = torch.randn(PROBE, PROBE).to(BF16)
        self.disturbed: Counter[str] = Counter()

    def __call__(self, name: str, run: Run) -> float:
        found: dict[float, float] = {}  # by how quiet it was
        while len(found) < TRIES:
            before, seconds, after = self._wait(), self._once(run), self._rate()
            found[min(before, after)] = seconds
            if self._is_quiet(min(before, after)):
                return seconds
        self.disturbed[name] += 1
        return found[max(found)]

    def _once(self, run: Run) -> float:
        started = self._clock()
        run()
        return self._clock() - started

    def _wait(self) -> float:
        ends = time.perf_counter() + PATIENCE
        while not self._is_quiet(rate := self._rate()) and time.perf_counter() < ends:
            time.sleep(0.05)
        return rate

    def _is_quiet(self, rate: float) -> bool:
        return rate >= self._quiet * self._best

    def _rate(self) -> float:
        """Products a second."""
        if not self._quiet:
            return 0.0
        started = time.perf_counter()
        for _ in range(PROBES):
            self._factor @ self._factor
        rate = PROBES / (time.perf_counter() - started)
        self._best = max(self._best, rate)
        return rate


def counted(work: Work, network: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter:
        work.call_plain(network, *work.inputs(FP32))
    return int(counter.get_total_flops())


def figures(seconds: Mapping[str, list[float]], flops: int, first: Mapping[str, float]) -> dict[str, Any]:
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    rates = {name.split()[1]: 2 * SIDE**3 / found for name, found in medians.items() if name.startswith("product")}
    fastest = "bf16" if "bf16" in rates else "fp32"
    mine = [name for name in first if name.startswith("ours")]
    return {
        "threads": torch.get_num_threads(),
        "tflop": flops / 1e12,
        "seconds": medians,
        "best": {name: min(found) for name, found in seconds.items()},
        "first": first,
        "product_tflops": {name: rate / 1e12 for name, rate in rates.items()},
        f"share_of_{fastest}_product": {name: flops / medians[name] / rates[fastest] for name in first},
        "times_ours": {
            own: {
                name: statistics.median(b / a for a, b in zip(seconds[own], seconds[name])) for name in first
            }
            for own in mine
        },
        "best_times_ours": {own: {name: min(seconds[name]) / min(seconds[own]) for name in first} for own in mine},
    }  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("what", choices=("step", "vae"))
    arguments.add_argument("--model", choices=MODELS, default="sd1")
    arguments.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="processor, with one thread, among others' work"
    )
    arguments.add_argument("--quiet", type=float, default=0.0, metavar="SHARE", help="time what nobody disturbs")
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    engine.keep_memory()  # as `limner draw` does; here for all
    work: Work = {"step": Step, "vae": Decoding}[asked.what](MODELS[asked.model])
    found = alternate(work, asked.peers, asked.rounds, Timed(CLOCKS[asked.clock], asked.quiet))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
