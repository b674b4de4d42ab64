"""Stable Diffusion on a CPU beside its peers, all with the same random weights at the size of SD 1.5.

    python benchmarks/stable_diffusion.py step [--peers NAME ...] [--rounds 7]     one guided step, 512 x 512
    python benchmarks/stable_diffusion.py vae [--peers NAME ...] [--rounds 7]      latents to a picture of 512 x 512
    python benchmarks/stable_diffusion.py picture [--steps 20] [--precision fp32] [--rounds 3]   whole processes

Rounds alternate in one process; a figure is the median of its rounds, a ratio the median of the rounds' ratios. The
share is the arithmetic of the plain network over time, of what the same rounds' 4096^3 matrix product in bf16 reached.
"best" is the shortest of the rounds, for a machine whose neighbours come and go.
--quiet 0.8 waits, before each is timed, for the units that multiply bf16, which virtual machines may share without
knowing: until a small product reaches 0.8 of the best rate seen. What another such product, just after, finds slower
is timed again. Of what had to be taken as it was, "disturbed" tells the number.
A peer that is not installed is left out. Peers: diffusers as it comes, in bf16, compiled; OpenVINO with static shapes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from limner import engine
from limner.nn.unet import UNet, UNetConfig

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
    """The U-Net over a latent with and without its text: ours is given it once, others twice, as they ask for it."""

    theirs = "UNet2DConditionModel"
    settings: Mapping[str, Any] = {
        "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3, "block_out_channels": (320, 640, 1280, 1280),
    }  # fmt: skip

    def build(self) -> nn.Module:
        return UNet(UNetConfig())

    def inputs(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(1)
        x, context = (torch.randn(shape, generator=generator).to(dtype) for shape in ((1, 4, 64, 64), (2, 77, 768)))
        return x, torch.tensor([500.0]), context

    def call(self, network: nn.Module, *inputs: Tensor) -> Tensor:
        out: Tensor = network(*inputs)
        return out

    def call_plain(self, network: nn.Module, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        return self.call(network, x.repeat(2, 1, 1, 1), t.repeat(2), context)

    def call_theirs(self, network: nn.Module, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        out: Tensor = network(x.repeat(2, 1, 1, 1), t.repeat(2), context, return_dict=False)[0]
        return out


class Decoding:
    """The autoencoder's way back."""

    theirs = "AutoencoderKL"
    settings: Mapping[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4,
    }  # fmt: skip

    def build(self) -> nn.Module:
        from limner.codecs.vae import VAE, VAEConfig

        return VAE(VAEConfig(scale=1.0))

    def inputs(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return (torch.randn((1, 4, 64, 64), generator=torch.Generator().manual_seed(1)).to(dtype),)

    def call(self, network: Any, *inputs: Tensor) -> Tensor:
        out: Tensor = network.decode(*inputs)
        return out

    call_plain = call

    def call_theirs(self, network: Any, *inputs: Tensor) -> Tensor:
        out: Tensor = network.decode(*inputs, return_dict=False)[0]
        return out


Work = Step | Decoding


def weights(work: Work) -> dict[str, Tensor]:
    """Random ones in bf16, so that no precision has to round them; what training begins at zero is not zero here."""
    torch.manual_seed(0)
    network = work.build()
    for one in network.parameters():
        if not one.any():
            nn.init.normal_(one, std=0.02)
    return {name: one.detach().to(BF16) for name, one in network.state_dict().items()}


def loaded(network: nn.Module, state: State, dtype: torch.dtype) -> nn.Module:
    """With a copy of its own."""
    network.load_state_dict({name: one.to(dtype, copy=True) for name, one in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


# ---------------------------------------------------------------------------------------------------
# Who runs it.


def ours(work: Work, state: State, dtype: torch.dtype) -> Run:
    network, inputs = loaded(work.build(), state, dtype), work.inputs(dtype)
    engine.prepare(network, dtype)
    return lambda: work.call(network, *inputs)


def diffusers(work: Work, state: State, dtype: torch.dtype, *, channels_last: bool = False) -> Run:
    network, inputs = _theirs(work, state, dtype, channels_last=channels_last), work.inputs(dtype)
    return lambda: work.call_theirs(network, *inputs)


def compiled(work: Work, state: State, dtype: torch.dtype) -> Run:
    network, inputs = _theirs(work, state, dtype, channels_last=True), work.inputs(dtype)
    call = torch.compile(work.call_theirs)
    return lambda: call(network, *inputs)


def openvino(work: Work, state: State, dtype: torch.dtype) -> Run:
    """From a saved model, of static shapes, the precision as a hint: what its documentation advises."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        _convert(work, state, Path(folder) / "model.xml")
        hints = {"INFERENCE_PRECISION_HINT": {FP32: "f32", BF16: "bf16"}[dtype], "PERFORMANCE_HINT": "LATENCY"}
        hints |= {"INFERENCE_NUM_THREADS": str(torch.get_num_threads())}
        model = openvino.Core().compile_model(Path(folder) / "model.xml", "CPU", hints)
    request, given = model.create_infer_request(), [one.numpy() for one in work.inputs(FP32)]
    return lambda: torch.from_numpy(request.infer(given)[0])


def _convert(work: Work, state: State, path: Path) -> None:
    import openvino

    network, inputs = _theirs(work, state, FP32, channels_last=False), work.inputs(FP32)
    converted = openvino.convert_model(Wrapped(work, network), example_input=inputs)
    converted.reshape({port: list(given.shape) for port, given in zip(converted.inputs, inputs, strict=True)})
    openvino.save_model(converted, path)


class Wrapped(nn.Module):
    """Their network with tensors going in and one coming out."""

    def __init__(self, work: Work, network: nn.Module) -> None:
        super().__init__()
        self.work, self.network = work, network

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.work.call_theirs(self.network, *inputs)


def _theirs(work: Work, state: State, dtype: torch.dtype, *, channels_last: bool) -> nn.Module:
    network = loaded(getattr(importlib.import_module("diffusers"), work.theirs)(**work.settings), state, dtype)
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
    plain = loaded(work.build(), state, FP32)
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
    return figures(measured(runs, rounds, timed), flops, first) | {"disturbed": timed.disturbed}


def measured(runs: Mapping[str, Run], rounds: int, timed: Timed) -> dict[str, list[float]]:
    """Seconds of each, and of the matrix product in either precision."""
    both = {f"product {name}": torch.randn(SIDE, SIDE).to(one) for name, one in (("fp32", FP32), ("bf16", BF16))}
    products: dict[str, Run] = {name: (lambda one=one: one @ one) for name, one in both.items()}
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
    rate = 2 * SIDE**3 / medians["product bf16"]
    mine = [name for name in first if name.startswith("ours")]
    return {
        "threads": torch.get_num_threads(),
        "tflop": flops / 1e12,
        "seconds": medians,
        "best": {name: min(found) for name, found in seconds.items()},
        "first": first,
        "product_tflops": {name: 2 * SIDE**3 / medians[f"product {name}"] / 1e12 for name in ("fp32", "bf16")},
        "share_of_bf16_product": {name: flops / medians[name] / rate for name in first},
        "times_ours": {
            own: {
                name: statistics.median(b / a for a, b in zip(seconds[own], seconds[name])) for name in first
            }
            for own in mine
        },
        "best_times_ours": {own: {name: min(seconds[name]) / min(seconds[own]) for name in first} for own in mine},
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------
# Whole processes.


DRAW = """
import sys
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
folder, output, steps, dtype, compiled, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=getattr(torch, dtype), safety_checker=None)
pipe.set_progress_bar_config(disable=True)
if compiled == "compiled":
    pipe.unet = torch.compile(pipe.unet.to(memory_format=torch.channels_last))
    pipe.vae.decode = torch.compile(pipe.vae.to(memory_format=torch.channels_last).decode)
generator = torch.Generator().manual_seed(7)
pipe("a red apple", num_inference_steps=int(steps), generator=generator).images[0].save(output)
"""
NAMES = {"fp32": FP32, "bf16": BF16}


def pictures(steps: int, precision: str, rounds: int, threads: int) -> dict[str, Any]:
    """Seconds and peak memory in GiB of processes that draw one picture each, the first of a kind left out."""
    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name) / "model", Path(name) / "picture.png"
        # In a process of its own: what a process held at most is said of those that it starts, too.
        making = multiprocessing.get_context("spawn").Process(target=save_model, args=(folder, NAMES[precision]))
        making.start()
        making.join()
        if making.exitcode:
            raise SystemExit("the model could not be made")
        theirs = [sys.executable, "-c", DRAW, folder, output, steps, str(NAMES[precision]).removeprefix("torch.")]
        ours = ["-m", "limner", "draw", "a red apple", "--seed", 7, "--steps", steps, "--model", folder, "-o", output]
        commands = {
            "ours": [sys.executable, *ours, "--precision", precision],
            "diffusers": [*theirs, "eager", threads],
            "compiled": [*theirs, "compiled", threads],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, command in commands.items():
                one = process([str(part) for part in command], threads)
                print(f"{name}, run {number}: {one[0]:.1f} s, {one[1]:.2f} GiB", file=sys.stderr)
                if number:
                    found[name].append(one)
    seconds = {name: statistics.median(one[0] for one in runs) for name, runs in found.items()}
    memory = {name: max(one[1] for one in runs) for name, runs in found.items()}
    times = {name: one / seconds["ours"] for name, one in seconds.items()}
    share = {name: memory["ours"] / one for name, one in memory.items()}
    return {"seconds": seconds, "peak_gib": memory, "times_ours": times, "our_share_of_memory": share}


def process(command: list[str], threads: int) -> tuple[float, float]:
    """Seconds, and the peak resident memory in GiB, of one process."""
    started = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    _, status, usage = os.wait4(running.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 2**20


def save_model(folder: Path, dtype: torch.dtype) -> None:
    """A whole Stable Diffusion 1.5 of random weights, as diffusers keeps it."""
    import diffusers
    import transformers

    vocabulary, merges = tokenizer()
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    torch.manual_seed(0)
    text = transformers.CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
        num_attention_heads=12, bos_token_id=len(vocabulary) - 2, eos_token_id=len(vocabulary) - 1,
    )  # fmt: skip
    parts = {
        "unet": _theirs(Step(), weights(Step()), dtype, channels_last=False),
        "vae": _theirs(Decoding(), weights(Decoding()), dtype, channels_last=False),
        "text_encoder": transformers.CLIPTextModel(text).to(dtype),
        "tokenizer": transformers.CLIPTokenizer(
            str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
        ),
        "scheduler": diffusers.DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    }
    pipe = diffusers.StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipe.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()


def tokenizer() -> tuple[dict[str, int], list[str]]:
    """As many tokens as CLIP has, of made-up merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(one) for one in (*printable, *range(256, 256 + 256 - len(printable)))]
    ends = [f"{letter}</w>" for letter in letters]
    merges = [f"{first} {second}" for first in letters for second in letters + ends][: 49_408 - 2 - 512]
    tokens = [*letters, *ends, *(merge.replace(" ", "") for merge in merges), "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("what", choices=("step", "vae", "picture"))
    arguments.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME")
    arguments.add_argument("--precision", choices=NAMES, default="bf16")
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="processor, with one thread, among others' work"
    )
    arguments.add_argument("--quiet", type=float, default=0.0, metavar="SHARE", help="time what nobody disturbs")
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.what == "picture":
        found = pictures(asked.steps, asked.precision, asked.rounds, asked.threads)
    else:
        engine.keep_memory()  # as `limner draw` does; here for all
        work: Work = {"step": Step, "vae": Decoding}[asked.what]()
        found = alternate(work, asked.peers, asked.rounds, Timed(CLOCKS[asked.clock], asked.quiet))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
