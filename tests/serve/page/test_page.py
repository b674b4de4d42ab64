"""The page in a real Chromium: a prompt, previews, a repainted region, the gallery; and no script in a prompt runs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from limner.serve.ledger import Keys, Ledger
from limner.serve.orders import State
from tests.serving import Serving, serving

driver = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
INSIDE = ("data:", "blob:")
PATIENCE = 60_000  # milliseconds, since Gradio starts slowly on a busy machine
SOURCES = "window.seen = new Set(); new MutationObserver(() => document.querySelectorAll('#easel img').forEach("
SOURCES += (
    "one => window.seen.add(one.src))).observe(document.body, {subtree: true, childList: true, attributes: true})"
)
ANOTHER = "last => [...document.querySelectorAll('#easel a img')].some(one => one.getAttribute('src') !== last)"
SCRIPTS = (
    "<script>window.ran = 1</script>", "<img src=x onerror='window.ran = 1'>", "<svg onload=window.ran=1>",
    "\"><script>window.ran = 1</script>", "<a href='javascript:window.ran=1'>a</a>",
    "</textarea><script>window.ran=1</script>",
    "{{constructor.constructor('window.ran=1')()}}", "${window.ran=1}", "[a](javascript:window.ran=1)",
    "<iframe srcdoc='<script>parent.ran=1</script>'>", "\n\n<script>window.ran = 1</script>\n\n",
    "<details open ontoggle=window.ran=1>",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("there is no Chromium on the PATH; install one, or name it by the environment variable CHROMIUM")
    with driver.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path)
        yield found
        found.close()


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    data = tmp_path_factory.mktemp("page") / "data"
    data.mkdir()
    with closing(Keys.open(data / "ledger.sqlite")) as keys:
        return data, keys.add("somebody")[1]


@pytest.fixture(scope="module")
def server(secret: tuple[Path, str], model: str) -> Iterator[Serving]:
    """With a page, a key, and two models."""
    with serving(secret[0], ["flow-scenes", model], page=True, secret=secret[1]) as found:
        yield found


@contextmanager
def opened(browser: Any, server: Serving, **options: Any) -> Iterator[Any]:
    """The page of who has given the key. In the end nothing came from elsewhere, no script failed, none was added."""
    context, errors, outside = browser.new_context(**options), [], []
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda one: errors.append(one.text) if "Content Security Policy" in one.text else None)
    page.on(
        "request",
        lambda one: outside.append(one.url) if not one.url.startswith((server.url, "data:", "blob:")) else None,
    )
    page.goto(server.url)
    assert page.url.endswith("/login")
    page.fill("#key", server.secret)
    page.press("#key", "Enter")
    page.wait_for_selector("#prompt textarea")
    page.evaluate(SOURCES)
    yield page
    assert page.is_closed() or page.evaluate("window.ran") is None
    context.close()
    assert errors == []
    assert outside == []


def until(page: Any, condition: str, *given: str) -> None:
    """As often as it takes."""
    ends = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(condition, *given):
        assert time.monotonic() < ends, condition
        time.sleep(0.05)


def drawn(page: Any, prompt: str) -> str:
    """The address of the picture, drawn from the keyboard."""
    before = page.locator("#easel a img").count() and page.locator("#easel a img").first.get_attribute("src")
    page.fill("#prompt textarea", prompt)
    page.press("#prompt textarea", "Enter")
    until(page, ANOTHER, before or "")
    until(page, "document.querySelector('#line').innerText.startsWith('done')")
    return str(page.locator("#easel a img").first.get_attribute("src"))


def test_a_wrong_key_opens_nothing(browser: Any, server: Serving) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    page.fill("#key", "lim_wrong")
    page.press("#key", "Enter")
    assert page.locator("[role=alert]").inner_text() == "This key opens nothing."
    context.close()


def test_a_picture_comes_step_by_step_is_repainted_and_found_again(
    browser: Any, server: Serving, tmp_path: Path
) -> None:
    with opened(browser, server) as page:
        page.click("text=Settings")
        page.fill("#seed textarea, #seed input", "7")
        address = drawn(page, "a red square on a white ground")
        previews = [one for one in page.evaluate("[...window.seen]") if one.startswith("data:")]
        print(f"{len(previews)} previews")
        assert len(previews) >= 2
        file = httpx.get(server.url + address, headers=server.headers)
        assert file.headers["content-type"] == "image/png"
        (tmp_path / "image.png").write_bytes(file.content)

        page.click("text=Draw over a picture")
        page.wait_for_selector("#editor canvas", state="attached")
        time.sleep(1.0)  # the editor begins
        page.set_input_files("#editor input[type=file]", tmp_path / "image.png")
        page.wait_for_selector("#editor canvas")
        time.sleep(1.0)  # the editor lays the picture out
        paint(page)
        repainted = drawn(page, "a blue square on a yellow ground")
        assert repainted != address
        (tmp_path / "again.png").write_bytes(httpx.get(server.url + repainted, headers=server.headers).content)
        check_repainted(tmp_path / "image.png", tmp_path / "again.png")

        page.click("role=tab[name='Mine']")
        until(page, "document.querySelectorAll('#gallery img').length >= 2")
        page.locator("#gallery button").nth(1).click()
        page.wait_for_selector("#about dl")
        assert "a red square on a white ground" in page.inner_text("#about")
        page.click("#again")
        until(page, "document.querySelector('#prompt textarea').value.startsWith('a red square')")
        assert page.input_value("#seed textarea, #seed input") == "7"


def paint(page: Any) -> None:
    """A stroke in the middle."""
    page.locator("#editor button[aria-label='Brush'], #editor button[title='Brush']").first.click()
    box = page.locator("#editor canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 5, y)
    page.mouse.down()
    page.mouse.move(x + 5, y + 3, steps=8)
    page.mouse.up()
    time.sleep(0.5)


def check_repainted(before: Path, after: Path) -> None:
    """Some pixels are others, and many are the same."""
    with Image.open(before) as one, Image.open(after) as other:
        pairs = list(zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True))
    same = sum(a == b for a, b in pairs) / len(pairs)
    assert 0.1 < same < 0.99, f"{same:.0%} of the values are the same"


def test_two_models_and_a_grid(browser: Any, server: Serving) -> None:
    with opened(browser, server) as page:
        page.click("role=tab[name='Two models']")
        page.fill("#two-prompt textarea", "a red square")
        page.click("text=Draw both")
        until(page, "document.querySelectorAll('.beside a img').length === 2")
        page.click("role=tab[name='Grid']")
        page.fill("#grid-prompt textarea", "a red square")
        page.fill("#rows textarea, #rows input", "1, 2")
        page.fill("#columns textarea, #columns input", "1, 3, 5")
        page.click("#grid-start")
        until(page, "document.querySelectorAll('.grid a img').length === 6")
        page.fill("#rows textarea, #rows input", "1, many")
        page.click("#grid-start")
        page.wait_for_selector("#grid-line .wrong")
        assert "many" in page.inner_text("#grid-line")


def test_what_is_wrong_is_said_in_a_line(browser: Any, server: Serving) -> None:
    with opened(browser, server) as page:
        page.click("text=Settings")
        page.fill("#size textarea, #size input", "100x100")
        page.fill("#prompt textarea", "a red square")
        page.press("#prompt textarea", "Enter")
        page.wait_for_selector("#line .wrong")
        assert "128 x 128" in page.inner_text("#line")


def test_stop_and_closing_the_tab_end_a_drawing(browser: Any, server: Serving) -> None:
    with opened(browser, server) as page:
        page.click("text=Settings")
        page.get_by_label("Steps").first.fill("1000")
        for end in (lambda: page.click("#stop"), page.close):
            page.fill("#prompt textarea", "a red square")
            page.press("#prompt textarea", "Enter")
            server._until(lambda: server.metric("t2i_drawing") > 0)
            end()
            server._until(lambda: server.metric("t2i_drawing") == 0, 20.0)


def test_what_somebody_wrote_is_text(browser: Any, server: Serving) -> None:
    with opened(browser, server) as page:
        for one in SCRIPTS:
            drawn(page, one)
            assert page.evaluate("window.ran") is None, one
        page.click("role=tab[name='Mine']")
        until(page, f"document.querySelectorAll('#gallery img').length >= {len(SCRIPTS)}")
        for number in range(len(SCRIPTS)):
            page.locator("#gallery button").nth(number).click()
            page.wait_for_selector("#about dl")
        assert page.evaluate("window.ran") is None
    print(f"{len(SCRIPTS)} scripts as prompts: none ran")


def test_it_fits_a_phone(browser: Any, server: Serving) -> None:
    with opened(browser, server, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as page:
        drawn(page, "a red square")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390
        top = page.locator("#easel a img").bounding_box()["y"]
        assert top < 844  # the picture is to be seen without searching for it


def test_gradio_gives_no_files_away(server: Serving, tmp_path: Path) -> None:
    canary = tmp_path / "canary.txt"
    canary.write_text("the canary")
    places = [str(canary), f"../{canary}", "/etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", f"{server.data}/ledger.sqlite"]
    for place in places:
        for route in ("file=", "file/", "static/", "download/", "stream/"):
            answer = httpx.get(f"{server.url}/gradio_api/{route}{place}", headers=server.headers)
            assert answer.status_code in (400, 403, 404, 405), (route, place, answer.status_code)
        assert httpx.get(f"{server.url}/assets/{place}", headers=server.headers).status_code in (400, 403, 404)


def test_jobs_are_of_the_key(server: Serving, secret: tuple[Path, str]) -> None:
    """Runs last: the ledger has one server at a time."""
    assert server.stop() == 0
    with closing(Ledger.open(secret[0] / "ledger.sqlite")) as ledger:
        [key] = ledger.keys.all()
        mine = ledger.of_key(key.id, 1000)
        assert {job.state for job in mine} <= {State.DONE, State.CANCELLED, State.REFUSED}
        assert State.CANCELLED in {job.state for job in mine}
        assert ledger.of_key(None, 10) == []
