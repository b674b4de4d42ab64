"""Pictures by their content: whole or not there, found by their sum alone, and swept by age and size."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limner.serve import pictures as module
from limner.serve.faults import Unavailable
from limner.serve.pictures import Pictures
from tests.serve.disk import full

NOW = 1_800_000_000.0
CANARY = b"the canary outside"
KILLS = int(os.environ.get("LIMNER_KILLS", "10"))


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "new" / "pictures", 10_000, 1000.0)


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files(folder: Path) -> dict[str, bytes]:
    """All files below it, by their path."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def place(tmp_path: Path, digest: str) -> Path:
    return tmp_path / "new" / "pictures" / digest[:2] / digest[2:4] / digest


def age(tmp_path: Path, digest: str, seconds: float) -> None:
    os.utime(place(tmp_path, digest), (NOW - seconds, NOW - seconds))


# ---------------------------------------------------------------------------------------------------
# Putting and getting.


def test_a_picture_is_found_by_its_sum(pictures: Pictures, tmp_path: Path) -> None:
    for data in (b"one", b"", bytes(100_000)):
        assert pictures.put(data) == sum_of(data)
        assert pictures.get(sum_of(data)) == data
    assert files(tmp_path / "new" / "pictures").keys() == {
        f"{one[:2]}/{one[2:4]}/{one}" for one in map(sum_of, (b"one", b"", bytes(100_000)))
    }
    assert pictures.get(sum_of(b"other")) is None


def test_what_is_there_is_not_written_again(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = pictures.put(b"one")
    monkeypatch.setattr(module, "atomic_write", lambda *_: pytest.fail("it was written again"))
    assert pictures.put(b"one") == digest
    assert list(files(tmp_path).values()) == [b"one"]


def test_another_process_finds_it(pictures: Pictures, tmp_path: Path) -> None:
    digest = pictures.put(b"one")
    assert Pictures(tmp_path / "new" / "pictures", 1, 1).get(digest) == b"one"


@pytest.mark.parametrize("damage", [b"", b"on", b"onf", b"one more"])
def test_a_damaged_file_counts_as_absent_is_reported_and_is_mended(
    pictures: Pictures, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    digest = pictures.put(b"one")
    place(tmp_path, digest).write_bytes(damage)
    with caplog.at_level(logging.ERROR):
        assert pictures.get(digest) is None
    assert f"the picture {digest} is damaged" in caplog.text
    assert pictures.put(b"one") == digest
    assert pictures.get(digest) == b"one"


# ---------------------------------------------------------------------------------------------------
# Nothing but what was put is read.


def corpus(outside: Path, digest: str) -> list[str]:
    """Names by which servers were led out of their folders."""
    goals = ["canary", "etc/passwd", str(outside).lstrip("/"), f"{digest[:2]}/{digest[2:4]}/{digest}", digest]
    ups = [
        "../",
        "..\\",
        "....//",
        "..;/",
        "/",
        "//",
        "\\\\host\\share\\",
        "file:///",
        "file=/",
        "./",
        "~/",
        "C:\\",
        "",
    ]
    plain = [up * times + goal for up in ups for times in (1, 3, 8) for goal in goals]
    quoted = [urllib.parse.quote(one, safe="") for one in plain]
    twice = [urllib.parse.quote(one, safe="") for one in quoted]
    tails = ["\0", "\0.png", "\n", " ", ".", "/", "/..", "::$DATA", "\ud800", ".png", "%00", "?x", "#x"]
    near = [digest + tail for tail in tails] + [tail + digest for tail in tails]
    spelt = [
        digest.upper(),
        digest[:-1],
        digest + "0",
        f"{digest[:10]}/{digest[11:]}",
        digest.replace("0", "０", 1),
    ]
    strange = ["", ".", "..", "-", "*", "%", "\0" * 64, "." * 64, "/" * 64, "g" * 64, "٠" * 64, "𝟎" * 64]
    return [one for one in dict.fromkeys([*plain, *quoted, *twice, *near, *spelt, *strange]) if one != digest]


def test_no_name_leads_out_of_the_folder(pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "canary").write_bytes(CANARY)
    digest = pictures.put(b"a picture 0")
    names = corpus(tmp_path / "canary", digest)
    assert len(names) > 200
    for name in names:
        assert pictures.get(name) is None, name
    assert pictures.get(digest) == b"a picture 0"


def test_a_link_is_not_followed_even_to_the_right_content(pictures: Pictures, tmp_path: Path) -> None:
    digest = pictures.put(b"one")
    path = place(tmp_path, digest)
    (tmp_path / "outside").write_bytes(b"one")
    path.unlink()
    path.symlink_to(tmp_path / "outside")
    assert pictures.get(digest) is None
    pictures.put(b"one")
    assert not path.is_symlink()
    assert (tmp_path / "outside").read_bytes() == b"one"


def test_what_is_no_file_is_absent_and_nothing_waits_for_it(pictures: Pictures, tmp_path: Path) -> None:
    pipe, folder, missing = (pictures.put(data) for data in (b"pipe", b"folder", b"missing"))
    for digest in (pipe, folder, missing):
        place(tmp_path, digest).unlink()
    os.mkfifo(place(tmp_path, pipe))
    place(tmp_path, folder).mkdir()
    place(tmp_path, missing).parent.rmdir()
    place(tmp_path, missing).parent.write_bytes(b"a file where a folder was")
    got: list[bytes | None] = []
    reading = threading.Thread(target=lambda: got.extend(map(pictures.get, (pipe, folder, missing))), daemon=True)
    reading.start()
    reading.join(10)
    assert got == [None] * 3
    assert pictures.sweep(NOW + 1e6, set()) == 0


# ---------------------------------------------------------------------------------------------------
# Sweeping.


def test_old_pictures_are_swept_but_for_those_that_are_needed(pictures: Pictures, tmp_path: Path) -> None:
    old, needed, fresh = (pictures.put(data) for data in (b"old", b"needed", b"fresh"))
    for digest, seconds in ((old, 1001), (needed, 9999), (fresh, 999)):
        age(tmp_path, digest, seconds)
    assert pictures.sweep(NOW, {needed}) == 1
    assert [pictures.get(one) for one in (old, needed, fresh)] == [None, b"needed", b"fresh"]


def test_the_oldest_go_until_the_rest_is_within_the_limit(pictures: Pictures, tmp_path: Path) -> None:
    digests = [pictures.put(bytes([number]) * 3000) for number in range(6)]
    for number, digest in enumerate(digests):
        age(tmp_path, digest, 100 - number)
    assert pictures.sweep(NOW, {digests[0]}) == 3
    kept = [digest for digest in digests if pictures.get(digest) is not None]
    assert kept == [digests[0], digests[4], digests[5]]
    assert pictures.sweep(NOW, set(digests)) == 0


def test_all_that_is_needed_stays_though_it_is_too_much(pictures: Pictures, tmp_path: Path) -> None:
    digests = [pictures.put(bytes([number]) * 9000) for number in range(3)]
    for digest in digests:
        age(tmp_path, digest, 5000)
    assert pictures.sweep(NOW, set(digests)) == 0
    assert all(pictures.get(digest) for digest in digests)


def test_what_is_put_again_is_young_again(pictures: Pictures, tmp_path: Path) -> None:
    digest = pictures.put(b"one")
    age(tmp_path, digest, 5000)
    pictures.put(b"one")
    assert pictures.sweep(time.time(), set()) == 0
    assert pictures.get(digest) == b"one"


def test_what_is_put_again_while_it_is_swept_stays(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = pictures.put(b"one")
    age(tmp_path, digest, 5000)
    delete = Pictures._delete

    def put_before(self: Pictures, file: module._File) -> bool:
        pictures.put(b"one")
        return delete(self, file)

    monkeypatch.setattr(Pictures, "_delete", put_before)
    assert pictures.sweep(NOW, set()) == 0
    assert pictures.get(digest) == b"one"


def test_a_sweep_deletes_nothing_that_is_not_a_picture(pictures: Pictures, tmp_path: Path) -> None:
    """But for what a writing left behind that was killed long ago."""
    folder = place(tmp_path, pictures.put(b"one")).parent
    for name in ("notes.txt", ".00ff.part", ".ff00.part", "A" * 64):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (NOW - 1e6, NOW - 1e6))
    os.utime(folder / ".ff00.part", (NOW - 60, NOW - 60))
    pictures.sweep(NOW, set())
    assert {one.name for one in folder.iterdir()} >= {"notes.txt", ".ff00.part", "A" * 64}
    assert not (folder / ".00ff.part").exists()


def test_an_empty_store_is_swept(pictures: Pictures) -> None:
    assert pictures.sweep(NOW, set()) == 0


# ---------------------------------------------------------------------------------------------------
# Faults of the machine, and many at once.


def test_a_full_disk_leaves_nothing_half_written_and_works_again(pictures: Pictures, tmp_path: Path) -> None:
    before = pictures.put(b"one")
    with full(1000), pytest.raises(Unavailable, match="File too large"):
        pictures.put(bytes(5000))
    assert list(files(tmp_path).values()) == [b"one"]
    assert pictures.get(before) == b"one"
    assert pictures.get(pictures.put(bytes(5000))) == bytes(5000)


def test_a_folder_that_cannot_be_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="pictures in"):
        Pictures(tmp_path / "file" / "pictures", 1, 1).put(b"one")


def test_a_disk_that_does_not_answer_is_a_fault(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = pictures.put(b"one")

    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "_content", broken)
    with pytest.raises(Unavailable, match="Input/output error"):
        pictures.get(digest)


def test_many_put_get_and_sweep_at_once(tmp_path: Path) -> None:
    """Whatever is swept meanwhile, what is got is whole."""
    pictures = Pictures(tmp_path / "pictures", 20_000, 1e9)
    contents = [bytes([number]) * 2000 for number in range(40)]

    def work(who: int) -> int:
        choose = random.Random(who)
        for _ in range(60):
            data = choose.choice(contents)
            assert pictures.put(data) == sum_of(data)
            assert pictures.get(sum_of(choose.choice(contents))) in (None, *contents)
            if choose.random() < 0.1:
                pictures.sweep(time.time(), set())
        return who

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == list(range(8))
    pictures.sweep(time.time(), set())
    kept = files(tmp_path / "pictures")
    assert 0 < sum(map(len, kept.values())) <= 20_000
    assert all(Path(name).name == sum_of(data) for name, data in kept.items())


PUTTING = """
import os, sys
from pathlib import Path
from limner.serve.pictures import Pictures
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        pictures = Pictures(Path(sys.argv[1]), 10**9, 10**9)
        for number in range(10**6):
            digest = pictures.put(f"{os.getpid()} {number} ".encode() * 5000)
            os.write(1, f"{digest}\\n".encode())
    os.write(1, f"pid {pid}\\n".encode())
    os.waitpid(pid, 0)
    os.write(1, b"stopped\\n")
"""


def test_killed_while_it_writes_what_was_said_to_be_there_is_and_the_rest_is_whole(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PUTTING, str(tmp_path)]
    said: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        for number in range(KILLS):
            process.stdin.write("\n")
            process.stdin.flush()
            lines: list[str] = []
            while "stopped" not in lines:
                lines.append(process.stdout.readline().strip())
                if lines[-1].startswith("pid"):
                    time.sleep(random.Random(number).uniform(0.02, 0.1))
                    os.kill(int(lines[-1].split()[1]), signal.SIGKILL)
            said += [line for line in lines if len(line) == 64]
        process.stdin.close()
    pictures = Pictures(tmp_path, 10**9, 10**9)
    assert len(said) > KILLS
    assert all(pictures.get(digest) for digest in said)
    pictures.sweep(time.time() + 7200, set())
    assert all(Path(name).name == sum_of(data) for name, data in files(tmp_path).items())
