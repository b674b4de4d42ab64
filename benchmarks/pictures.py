"""Whole pictures by Stable Diffusion on a CPU, from the start of a process to the file, beside its peers.

    python benchmarks/pictures.py [--peers NAME ...] [--steps 20] [--rounds 3]

All draw 512 x 512 with guidance from the same random weights at the size of SD 1.5, which each finds as it reads them
best: in a folder of diffusers in the precision that it draws in, or as OpenVINO's models. Rounds alternate; the first
is left out, since some compile then what they keep. Told are the median of seconds and the peak of resident memory in
GiB.
Peers: diffusers as it comes, in bf16, and compiled; OpenVINO's own pipeline (openvino_genai) with static shapes and a
cache. One that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from stable_diffusion import BF16, FP32, MODELS, Decoding, Step, theirs, weights
from torch import Tensor, nn

PROMPT, SEED, SIDE, GUIDANCE = "a red apple", 7, 512, 7.5
DTYPES = {"fp32": FP32, "bf16": BF16}
DIFFUSERS = """
import sys
import torch
from diffusers import StableDiffusionPipeline
folder, output, prompt, steps, seed, threads, dtype, how = sys.argv[1:]
torch.set_num_threads(int(threads))
pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=getattr(torch, dtype), safety_checker=None)
pipe.set_progress_bar_config(disable=True)
if how == "compiled":
    pipe.unet = torch.compile(pipe.unet.to(memory_format=torch.channels_last))
    pipe.vae.decode = torch.compile(pipe.vae.to(memory_format=torch.channels_last).decode)
generator = torch.Generator().manual_seed(int(seed))
pipe(prompt, num_inference_steps=int(steps), generator=generator).images[0].save(output)
"""
OPENVINO = """
import sys
import openvino_genai
from PIL import Image
folder, output, prompt, steps, seed, threads, dtype, side, guidance = sys.argv[1:]
pipe = openvino_genai.Text2ImagePipeline(folder)
pipe.reshape(1, int(side), int(side), float(guidance))
pipe.compile(
    "CPU", INFERENCE_PRECISION_HINT=dtype, PERFORMANCE_HINT="LATENCY", INFERENCE_NUM_THREADS=int(threads),
    CACHE_DIR=folder + "/cache",
)
drawn = pipe.generate(prompt, num_inference_steps=int(steps), rng_seed=int(seed), guidance_scale=float(guidance))
Image.fromarray(drawn.data[0]).save(output)
"""


# ---------------------------------------------------------------------------------------------------
# The model, as each of them keeps it.


def save_models(folder: Path) -> None:
    """A folder of diffusers for each precision, and OpenVINO's."""
    for name, dtype in DTYPES.items():
        save_for_diffusers(folder / name, dtype)
    if importlib.util.find_spec("openvino_genai"):
        save_for_openvino(folder / "fp32", folder / "openvino")


def save_for_diffusers(folder: Path, dtype: torch.dtype) -> None:
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
    unet, vae = Step(MODELS["sd1"]), Decoding(MODELS["sd1"])
    parts = {
        "unet": theirs(unet, weights(unet), dtype),
        "vae": theirs(vae, weights(vae), dtype),
        "text_encoder": transformers.CLIPTextModel(text).to(dtype),
        "tokenizer": transformers.CLIPTokenizer(
            str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
        ),
        "scheduler": diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
            set_alpha_to_one=False, steps_offset=1,
        ),
    }  # fmt: skip
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


class First(nn.Module):
    """What `call` says of a part, as a module of tensors, to be traced."""

    def __init__(self, part: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.part, self.call = part, call

    def forward(self, *inputs: Tensor) -> Tensor:
        found: Tensor = self.call(*inputs, return_dict=False)[0]
        return found


def save_for_openvino(source: Path, folder: Path) -> None:
    """A folder of diffusers as `openvino_genai` reads it: a model for each part, its inputs by their names."""
    import diffusers
    import openvino
    import openvino_tokenizers

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(source, safety_checker=None)
    latents, states = torch.randn(2, 4, SIDE // 8, SIDE // 8), torch.randn(2, 77, 768)
    parts: Mapping[str, tuple[str, str, Mapping[str, Tensor], str]] = {
        "text_encoder": (
            "text_encoder", "forward", {"input_ids": torch.ones(2, 77, dtype=torch.int64)}, "last_hidden_state"
        ),
        "unet": (
            "unet", "forward",
            {"sample": latents, "timestep": torch.tensor([500]), "encoder_hidden_states": states}, "out_sample",
        ),
        "vae_decoder": ("vae", "decode", {"latent_sample": latents[:1]}, "sample"),
    }  # fmt: skip
    for name, (part, call, inputs, output) in parts.items():
        network = getattr(pipe, part)
        converted = openvino.convert_model(First(network, getattr(network, call)), example_input=tuple(inputs.values()))
        for port, given in zip(converted.inputs, inputs, strict=True):
            port.get_tensor().set_names({given})
        converted.outputs[0].get_tensor().set_names({output})
        (folder / name).mkdir(parents=True)
        openvino.save_model(converted, folder / name / "openvino_model.xml")
        shutil.copy(source / part / "config.json", folder / name)
    (folder / "tokenizer").mkdir()
    read = openvino_tokenizers.convert_tokenizer(pipe.tokenizer, use_max_padding=True, truncation=True)
    openvino.save_model(read, folder / "tokenizer" / "openvino_tokenizer.xml")
    pipe.scheduler.save_pretrained(folder / "scheduler")
    shutil.copy(source / "model_index.json", folder)


# ---------------------------------------------------------------------------------------------------
# Who draws.


Command = list[str]


def ours(folder: Path, output: Path, steps: int, threads: int, precision: str) -> Command:
    asked = {"--model": folder / precision, "--steps": steps, "--seed": SEED, "--precision": precision, "-o": output}
    return [sys.executable, "-m", "limner", "draw", PROMPT, *(str(part) for pair in asked.items() for part in pair)]


def diffusers(folder: Path, output: Path, steps: int, threads: int, precision: str, *, how: str = "eager") -> Command:
    dtype = str(DTYPES[precision]).removeprefix("torch.")
    asked = (folder / precision, output, PROMPT, steps, SEED, threads, dtype, how)
    return [sys.executable, "-c", DIFFUSERS, *map(str, asked)]


def compiled(folder: Path, output: Path, steps: int, threads: int, precision: str) -> Command:
    return diffusers(folder, output, steps, threads, precision, how="compiled")


def openvino(folder: Path, output: Path, steps: int, threads: int, precision: str) -> Command:
    dtype = {"fp32": "f32", "bf16": "bf16"}[precision]
    asked = (folder / "openvino", output, PROMPT, steps, SEED, threads, dtype, SIDE, GUIDANCE)
    return [sys.executable, "-c", OPENVINO, *map(str, asked)]


KINDS: Mapping[str, tuple[Callable[[Path, Path, int, int, str], Command], str]] = {
    "ours": (ours, "limner"),
    "diffusers": (diffusers, "diffusers"),
    "compiled": (compiled, "diffusers"),
    "openvino": (openvino, "openvino_genai"),
}
PEERS = [f"{kind} {precision}" for kind in KINDS for precision in DTYPES]
USUAL = ["ours bf16", "compiled bf16", "openvino bf16", "diffusers bf16", "diffusers fp32"]


# ---------------------------------------------------------------------------------------------------
# Rounds of processes.


def measured(names: list[str], folder: Path, steps: int, rounds: int, threads: int) -> dict[str, Any]:
    commands = {}
    for name in names:
        kind, precision = name.split()
        build, package = KINDS[kind]
        if importlib.util.find_spec(package):
            commands[name] = build(folder, folder / f"{kind}-{precision}.png", steps, threads, precision)
        else:
            print(f"{name} is left out: there is no {package}", file=sys.stderr)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            one = process(command, threads)
            print(f"{name}, run {number}: {one[0]:.1f} s, {one[1]:.2f} GiB", file=sys.stderr)
            if number:
                found[name].append(one)
    return figures(found)


def process(command: Command, threads: int) -> tuple[float, float]:
    """Seconds, and the peak resident memory in GiB, of one process."""
    started = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    _, status, usage = os.wait4(running.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 2**20


def figures(found: Mapping[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """A ratio of seconds is the median of the rounds' ratios."""
    own = {name.split()[1]: runs for name, runs in found.items() if name.startswith("ours")}
    memory = {name: max(gib for _, gib in runs) for name, runs in found.items()}
    return {
        "seconds": {name: statistics.median(seconds for seconds, _ in runs) for name, runs in found.items()},
        "peak_gib": memory,
        "times_ours": {
            f"ours {precision}": {
                name: statistics.median(b / a for (a, _), (b, _) in zip(mine, runs)) for name, runs in found.items()
            }
            for precision, mine in own.items()
        },
        "our_share_of_memory": {
            name: memory[f"ours {precision}"] / gib
            for name, gib in memory.items() if (precision := name.split()[1]) in own
        },
    }  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--peers", nargs="+", choices=PEERS, default=USUAL, metavar="NAME")
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--models", type=Path, help="a folder where the models are kept, or made")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = asked.models or Path(name) / "models"
        if not folder.exists():
            folder.mkdir(parents=True)
            # In a process of its own: what a process held at most is said of those that it starts, too.
            making = multiprocessing.get_context("spawn").Process(target=save_models, args=(folder,))
            making.start()
            making.join()
            if making.exitcode:
                raise SystemExit("the models could not be made")
        print(json.dumps(measured(asked.peers, folder, asked.steps, asked.rounds, asked.threads), indent=1))


if __name__ == "__main__":
    main()
