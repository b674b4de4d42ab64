"""The arena by real HTTP requests: what it answers, whom it refuses, and that it keeps the names to itself."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from limner.provenance import read_pixels
from tests.drawn import PROMPTS
from tests.serve.server import NAMES, Server, serving

PAGES = sorted((Path(__file__).parents[2] / "src/limner/serve/arena/page").iterdir())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as found:
        yield found


def test_a_pair_is_shown_voted_on_and_followed_by_another(server):
    first = server.pair()
    assert first["prompt"] in PROMPTS
    assert server.pair(first["token"]) == first
    answer = server.vote(first["token"])
    assert (answer.status, answer.json["progress"]) == (
        200, {"votes": 1, "finished": False, "drawn": 6, "total": 6, "fault": ""},
    )  # fmt: skip
    second = server.pair(first["token"])
    assert second["token"] != first["token"]
    assert second["prompt"] != first["prompt"]
    assert [(vote.token, vote.choice) for vote in server.votes] == [(first["token"], "left")]
    assert server.ask("/progress").json["votes"] == 1


def test_what_is_shown_on_the_left_is_what_is_kept_as_left(server):
    pair = server.pair()
    shown = {}
    for side in ("left", "right"):
        answer = server.ask(f"/picture/{pair['token']}/{side}")
        assert answer.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(answer.data)) as image:
            shown[side] = image.convert("RGB").tobytes()
    server.vote(pair["token"], "right")
    [vote] = server.votes
    assert shown == {"left": read_pixels(vote.left.path).tobytes(), "right": read_pixels(vote.right.path).tobytes()}


def test_a_vote_sent_many_times_at_once_counts_once(server):
    token = server.pair()["token"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.vote(token).status, range(16)))
    assert answers == [200] * 16
    assert len(server.votes) == 1
    other = server.vote(token, "right")
    assert (other.status, other.json) == (409, {"error": "this pair has another vote already"})
    assert [vote.choice for vote in server.votes] == ["left"]


def test_nothing_tells_a_name_before_the_session_is_finished(server):
    answers = [server.ask(path) for path in ("/", "/results", "/progress", "/standings")]
    answers += [server.ask(f"/page/{path.name}") for path in PAGES]
    token = ""
    for _ in PROMPTS:
        answers.append(server.ask("/pair", {"token": token}))
        token = answers[-1].json["pair"]["token"]
        answers += [server.ask(f"/picture/{token}/{side}") for side in ("left", "right")]
        answers.append(server.vote(token))
        with Image.open(io.BytesIO(answers[-2].data)) as image:
            assert image.info == {}
    hashes = [entry.contestant.hash for vote in server.votes for entry in (vote.left, vote.right)]
    for answer in answers:
        told = answer.data + repr(answer.headers).encode()
        assert not [name for name in (*NAMES, *hashes, str(server.folder)) if name.encode() in told]
    assert server.ask("/standings").status == 409


def test_why_no_more_can_be_drawn_is_for_the_terminal(server):
    """A file that cannot be written has a contestant's name in its path."""
    fault = str(OSError(28, "No space left on device", f"pictures/{NAMES[0]}/1.png"))
    server.studio.progress = replace(server.studio.progress, fault=fault)
    answer = server.ask("/progress")
    assert answer.json["fault"] == "no more can be drawn; the terminal says why"
    assert NAMES[0].encode() not in answer.data


def test_everything_is_told_when_the_session_is_finished_and_no_vote_is_taken(server):
    first = server.pair()
    server.vote(first["token"], "tie")
    late = server.pair(first["token"])
    assert server.ask("/finish", {}).json["progress"]["finished"] is True
    answer = server.ask("/standings").json
    assert (answer["votes"], {row["name"] for row in answer["standings"]}) == (1, set(NAMES))
    [vote] = answer["all"]
    assert (vote["token"], vote["prompt"], vote["choice"]) == (first["token"], first["prompt"], "tie")
    assert {vote["left"], vote["right"]} == set(NAMES)
    assert server.vote(late["token"]).status == 409
    assert server.vote(first["token"], "tie").status == 200
    assert server.pair(late["token"]) is None
    assert len(server.votes) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/vote", {"token": "none", "choice": "left"}, 404, "no such pair"),
        ("/vote", {"token": "none", "choice": "both"}, 400, "'left', 'right', 'tie'"),
        ("/vote", {"token": 7, "choice": "left"}, 400, "token"),
        ("/vote", {"choice": "left"}, 400, '"token" is missing'),
        ("/vote", {"token": "none", "choice": "left", "more": 1}, 400, 'unknown key "more"'),
        ("/vote", [], 400, "no JSON object"),
        ("/vote", b"{", 400, "not JSON"),
        ("/vote", b"\xff\xfe\xfd", 400, "not JSON"),
        ("/vote", b"[" * 4000, 400, "not JSON"),
        ("/vote", {"token": "x" * 5000, "choice": "left"}, 413, "Too Large"),
        ("/vote", None, 405, "Method Not Allowed"),
        ("/pair", {"tokens": ""}, 400, 'did you mean "token"'),
        ("/picture/none/left", None, 404, "no such picture"),
        ("/page/../app.py", None, 404, "Not Found"),
        ("/page/%2e%2e/app.py", None, 404, "Not Found"),
        ("/page//etc/passwd", None, 404, "Not Found"),
        ("/nowhere", None, 404, "Not Found"),
    ],
)
def test_mistakes_are_answered_and_change_nothing(server, path, body, status, said):
    answer = server.ask(path, body)
    assert answer.status == status
    assert said in (answer.json["error"] if status != 413 else answer.data.decode())
    assert len(server.votes) == 0
    assert server.pair() is not None


def test_there_is_no_third_side(server):
    assert server.ask(f"/picture/{server.pair()['token']}/middle").status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "localhost:{port}", "Origin": "http://localhost:{port}"}, 200),
        ({"Host": "[::1]:{port}", "Origin": "http://[::1]:{port}"}, 200),
        ({"Host": "evil.example:{port}"}, 400),
        ({"Host": "[::2]:{port}"}, 400),
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1.evil.example:{port}"}, 400),
        ({"Host": None}, 400),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 403),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 403),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 403),
        ({"Content-Type": None}, 403),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_only_our_own_page_votes(server, headers, status):
    ballot = {"token": server.pair()["token"], "choice": "left"}
    given = {name: value and value.format(port=server.port) for name, value in headers.items()}
    assert server.ask("/vote", ballot, **given).status == status
    assert len(server.votes) == (status == 200)


def test_no_page_is_read_by_another_name(server):
    for path in ("/", "/progress", "/standings", f"/picture/{server.pair()['token']}/left"):
        assert server.ask(path, Host="evil.example").status == 400


def test_every_answer_is_marked_against_framing_guessing_and_keeping(server):
    for path in ("/", "/page/arena.js", "/progress", "/nowhere"):
        headers = server.ask(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_where_others_can_reach_it_a_key_is_asked_for(tmp_path):
    with serving(tmp_path, key="the-key") as server:
        for path, cookie in (
            ("/", None),
            ("/page/arena.js", None),
            ("/pair", "limner-key=wrong"),
            ("/?key=wrong", None),
        ):
            answer = server.ask(path, {} if path == "/pair" else None, Cookie=cookie)
            assert (answer.status, "whole address" in answer.json["error"]) == (401, True)
        for path in ("/?key=the-key", "//evil.example/?key=the-key"):
            answer = server.ask(path)
            assert (answer.status, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert server.ask("/pair", {}, Cookie=cookie.partition(";")[0]).status == 200


def test_a_full_disk_is_503_until_there_is_room_again(server):
    [[pages]] = server.votes._rows("PRAGMA page_count")
    server.votes._rows(f"PRAGMA max_page_count = {pages}")
    token = server.pair()["token"]
    while (answer := server.vote(token)).status == 200:
        if (asked := server.ask("/pair", {"token": token})).status != 200:
            answer = asked
            break
        token = asked.json["pair"]["token"]
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json == {"error": "The server has a problem: database or disk is full"}
    kept = len(server.votes)
    server.votes._rows(f"PRAGMA max_page_count = {pages + 100}")
    assert server.vote(server.pair()["token"]).json["progress"]["votes"] == kept + 1


def test_the_pages_load_nothing_from_elsewhere(server):
    assert {path.suffix for path in PAGES} == {".html", ".css", ".js", ".svg"}
    for path in PAGES:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"""https?:|["'`(=]//""", text), path
        if path.suffix != ".html":
            assert server.ask(f"/page/{path.name}").data == path.read_bytes()
