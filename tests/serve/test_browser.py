"""The arena in a real Chromium: fifty votes with a kill between two of them, and what a person does with a page."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import limner
from limner.evaluate.arena.votes import Votes
from tests.drawn import drawn
from tests.serve.server import NAMES, Server, serving

driver = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BUTTONS = {"left": "#left", "right": "#right", "tie": "#tie"}
KEYS = {"left": "ArrowLeft", "right": "ArrowRight", "tie": "ArrowDown"}
VOTES, KILLED_AFTER = 50, 20
PROMPTS = [f"prompt number {number}" for number in range(12)]
PATIENCE = 300_000  # milliseconds, since a process starts slowly on a busy machine
ANOTHER = "last => !document.querySelector('#left img').src.includes(last)"


@pytest.fixture(scope="module")
def browser() -> Iterator[driver.Browser]:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("there is no Chromium on the PATH; install one, or name it by the environment variable CHROMIUM")
    driver.expect.set_options(timeout=PATIENCE)
    with driver.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path)
        yield found
        found.close()


@contextmanager
def opened(browser: driver.Browser, url: str, **options: object) -> Iterator[driver.Page]:
    """A page in a profile of its own; no script of it has failed in the end."""
    context, errors = browser.new_context(**options), []
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(url)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, prompts=PROMPTS) as found:
        yield found


def kept(votes: Votes) -> dict[str, str]:
    """Choices by token, as the file has them."""
    return {vote.token: vote.choice for vote in votes}


def token(page: driver.Page) -> str:
    """Of the pair that can be voted on, as soon as there is one."""
    page.wait_for_selector("#left:enabled")
    return page.get_attribute("#left img", "src").split("/")[2]


def cast(page: driver.Page, choice: str) -> str:
    """Click, and wait for the next pair; the token of the pair that was clicked."""
    last = token(page)
    page.click(BUTTONS[choice])
    page.wait_for_function(ANOTHER, arg=last)
    return last


# ---------------------------------------------------------------------------------------------------
# The process.


class Process:
    """`limner arena` in a process of its own, with the same pictures and at the same port whenever it is started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self._runs = [str(drawn(folder / name, PROMPTS, size=64)) for name in ("anne", "beth", "cleo")]
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def votes(self) -> dict[str, str]:
        with closing(Votes(self.folder / "arena" / "votes.sqlite", create=False)) as votes:
            return kept(votes)

    def start(self) -> None:
        places = [str(Path(limner.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "limner", "arena", *self._runs, "--port", str(self.port)],
            cwd=self.folder, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("3 contestants, 12 prompts: open http://127.0.0.1:"), line
        self.port = int(line.partition("127.0.0.1:")[2].partition("/")[0])

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Its exit code and its last words."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        with self._process as ended:
            assert ended.stdout is not None
            words = ended.stdout.read()
        return self._process.returncode, words


@contextmanager
def started(folder: Path) -> Iterator[Process]:
    process = Process(folder)
    try:
        yield process
    finally:
        if process._process.returncode is None:
            process.end(signal.SIGKILL)


def test_fifty_votes_and_a_kill_between_two_of_them(browser: driver.Browser, tmp_path: Path) -> None:
    """After the 20th the process is killed; the 21st is clicked while there is nobody to hear it."""
    choices, clicked = random.Random(1), {}
    with started(tmp_path) as process, opened(browser, process.url) as page:
        for number in range(VOTES):
            choice = choices.choice(list(BUTTONS))
            if number != KILLED_AFTER:
                clicked[cast(page, choice)] = choice
                continue
            last = token(page)
            assert process.end(signal.SIGKILL) == (-signal.SIGKILL, "")
            page.click(BUTTONS[choice])
            driver.expect(page.locator("#notice")).to_contain_text("Your vote is kept")
            assert process.votes == clicked
            process.start()
            page.wait_for_function(ANOTHER, arg=last)
            clicked[last] = choice
            driver.expect(page.locator("#notice")).to_have_text("")
        driver.expect(page.locator("#votes")).to_have_text(f"{VOTES} votes")
        assert len(clicked) == VOTES
        assert process.votes == clicked
        code, words = process.end(signal.SIGINT)
        assert (code, words.partition(";")[0]) == (0, f"{VOTES} votes in arena/votes.sqlite")


# ---------------------------------------------------------------------------------------------------
# The page.


def test_a_vote_is_delivered_by_the_page_that_is_loaded_next(server: Server, browser: driver.Browser) -> None:
    with opened(browser, server.url) as page:
        last = token(page)
        page.route("**/vote", lambda route: route.abort())
        page.click("#tie")
        driver.expect(page.locator("#notice")).to_contain_text("Your vote is kept")
        page.reload()
        driver.expect(page.locator("#notice")).to_contain_text("Your vote is kept")
        assert len(server.votes) == 0
        page.unroute("**/vote")
        assert token(page) != last
        assert kept(server.votes) == {last: "tie"}


def test_keys_vote(server: Server, browser: driver.Browser) -> None:
    expected = {}
    with opened(browser, server.url) as page:
        for choice, key in KEYS.items():
            expected[token(page)] = choice
            page.keyboard.press(key)
            page.wait_for_function(ANOTHER, arg=list(expected)[-1])
        last = token(page)
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Control+ArrowRight")
        page.reload()
        assert token(page) == last
    assert kept(server.votes) == expected


def test_a_double_click_and_a_key_held_down_are_one_vote_each(server: Server, browser: driver.Browser) -> None:
    with opened(browser, server.url) as page:
        first = token(page)
        page.dblclick("#right")
        page.wait_for_function(ANOTHER, arg=first)
        second = token(page)
        page.wait_for_timeout(300)
        assert token(page) == second
        page.keyboard.down("ArrowLeft")
        page.wait_for_function(ANOTHER, arg=second)
        third = token(page)
        for _ in range(5):
            page.keyboard.down("ArrowLeft")  # what the keyboard repeats
        page.reload()
        assert token(page) == third
    assert kept(server.votes) == {first: "right", second: "left"}


@pytest.mark.parametrize("prompt", ["a kite", "many words " * 50], ids=["short", "long"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (740, 360), (1280, 720)])
def test_everything_is_on_one_screen(
    tmp_path: Path, browser: driver.Browser, width: int, height: int, prompt: str
) -> None:
    with (
        serving(tmp_path, prompts=[prompt]) as server,
        opened(browser, server.url, viewport={"width": width, "height": height}) as page,
    ):
        token(page)
        size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert size == [width, height]
        left, right = (page.locator(f"#{side}").bounding_box() for side in ("left", "right"))
        assert left["y"] == right["y"]
        assert left["x"] + left["width"] < right["x"]
        assert left["width"] == right["width"] > 0.35 * min(width, height)


def test_a_prompt_is_text_and_nothing_is_loaded_from_elsewhere(tmp_path: Path, browser: driver.Browser) -> None:
    asked, said = [], []
    trap = '<img src="https://example.com/x.png" onerror="document.title = 1"><script>document.title = 2</script>'
    with serving(tmp_path, prompts=[trap]) as server, opened(browser, "about:blank") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(server.url)
        token(page)
        assert page.text_content("#prompt") == trap
        assert page.title() == "Limner arena"
        assert asked
        assert all(url.startswith(server.url) for url in asked)
        assert said == []


def test_the_results_come_after_the_last_vote_and_no_name_before(server: Server, browser: driver.Browser) -> None:
    with opened(browser, server.url) as page:
        cast(page, "left")
        cast(page, "tie")
        page.click("text=Finish")
        driver.expect(page.locator("#ending")).to_be_visible()
        page.click("text=Go on voting")
        cast(page, "right")
        page.goto(f"{server.url}results")
        driver.expect(page.locator("#ending")).to_be_visible()
        assert not [name for name in NAMES if name in page.content()]
        page.click("#finish")
        driver.expect(page.locator("#votes")).to_have_text("3 votes on 3 prompts")
        for name in NAMES:
            driver.expect(page.locator("table").first).to_contain_text(name)
        driver.expect(page.locator(".votes article")).to_have_count(3)
        driver.expect(page.locator(".votes .chosen")).to_have_count(2)
        page.goto(server.url)
        page.wait_for_url(f"{server.url}results")
    assert len(server.votes) == 3
