"""`limner monitor`: prompts like the captions pass, foreign ones are found; what is wrong is said in a line."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from limner.cli.main import main
from limner.data.scenes.source import Scenes
from limner.pipeline import Pipeline
from limner.provenance import encode
from limner.serve.ledger import Ledger
from limner.serve.orders import Drawn, Order, State
from limner.serve.pictures import Pictures

FOREIGN = (
    "ein rotes Auto im tiefen Schnee", "une voiture rouge sous la pluie",
    "masterpiece, best quality, 8k, ultra detailed",
    "photograph of a bearded man in a rainy street at night, 85mm, bokeh, award winning",
)  # fmt: skip


def captions(count: int, *, seed: int = 99) -> list[str]:
    scenes = Scenes("seen", seed=seed)
    return [scenes.truth(index).caption for index in range(count)]


def asked(folder: Path, prompts: Sequence[str], *, state: State = State.DONE, model: str = "flow-scenes") -> Ledger:
    """A ledger in which these were asked for."""
    folder.mkdir(exist_ok=True)
    ledger = Ledger.open(folder / "ledger.sqlite")
    for seed, prompt in enumerate(prompts):
        job, _ = ledger.accept(Order(model=model, prompt=prompt, seed=seed), key=None, deadline=time.time() + 60)
        fence = ledger.begin(job.id)
        assert fence is not None
        ledger.end(job.id, fence, state)
    return ledger


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_prompts_like_the_captions_pass(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(here / "studio", captions(120)).close()
    assert main(["monitor", "--out", "report"]) == 0
    assert "PASSED" not in capsys.readouterr().out
    found = json.loads((here / "report" / "report.json").read_text())
    assert found["jobs"] == 120
    assert not found["passed"]
    assert len(list((here / "report" / "pictures").iterdir())) == 3


def test_foreign_prompts_are_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(here / "studio", FOREIGN * 15).close()
    assert main(["monitor", "--out", "report"]) == 1
    assert capsys.readouterr().out.count("PASSED") == 3
    assert "bearded man" in (here / "report" / "report.md").read_text()


def test_a_few_foreign_prompts_among_many_raise_no_alarm(here: Path) -> None:
    asked(here / "studio", [*captions(150), *FOREIGN]).close()
    assert main(["monitor"]) == 0


def test_too_few_are_not_judged(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(here / "studio", FOREIGN).close()
    assert main(["monitor"]) == 0
    assert "too few to tell" in capsys.readouterr().out


def test_jobs_that_failed_are_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(here / "studio", captions(40), state=State.FAILED).close()
    assert main(["monitor"]) == 1
    assert "failed" in capsys.readouterr().out


def test_pictures_that_show_something_else_are_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same pictures, each with the prompt of another."""
    prompts, pipe = captions(24), Pipeline.from_pretrained("flow-scenes")
    each = (pipe.requests(prompt, seeds=seed, knobs={"steps": 8}) for seed, prompt in enumerate(prompts))
    requests = [one for some in each for one in some]
    files = [encode(one.image, "PNG", one.settings) for one in pipe.stream(requests)]
    pictures = Pictures(here / "studio" / "pictures", 1 << 30, 1e6)
    for shift, code in ((0, 0), (11, 1)):
        (here / "studio" / "ledger.sqlite").unlink(missing_ok=True)
        ledger = asked(here / "studio", [])
        for number, prompt in enumerate(prompts):
            order = Order(model="flow-scenes", prompt=prompt, seed=1)
            job, _ = ledger.accept(order, key=None, deadline=time.time() + 60)
            fence = ledger.begin(job.id)
            assert fence is not None
            digest = pictures.put(files[(number + shift) % len(files)])
            ledger.add(job.id, fence, Drawn(index=0, digest=digest, settings={}))
            ledger.end(job.id, fence, State.DONE)
        ledger.close()
        assert main(["monitor", "--drift", "0.5"]) == code
        [line] = [one for one in capsys.readouterr().out.splitlines() if "CLIPScore" in one]
        assert ("PASSED" in line) == bool(code), line


def test_another_model_has_no_reference_until_one_is_made(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(here / "studio", captions(40), model="small").close()
    assert main(["monitor", "--model", model]) == 0
    assert "--reference" in capsys.readouterr().out
    (here / "captions.txt").write_text("\n".join(captions(2000, seed=5)))
    assert main(["monitor", "--model", model, "--reference", "captions.txt"]) == 0
    reference = Path(capsys.readouterr().out.strip())
    assert reference.exists()
    assert main(["monitor", "--model", model]) == 0
    assert "tokens of the prompt" in capsys.readouterr().out
    reference.unlink()


def test_what_is_wrong_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, said in (
        (["monitor"], "does not exist"), (["monitor", "--since", "soon"], "no time"),
        (["monitor", "--drift", "2"], "limit"), (["monitor", "--model", "nobody"], "no model"),
    ):  # fmt: skip
        assert main(command) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
    (here / "captions.txt").write_text("one\ntwo\n")
    assert main(["monitor", "--reference", "captions.txt", "--model", "flow-scenes"]) == 2
    assert "too few" in capsys.readouterr().err
