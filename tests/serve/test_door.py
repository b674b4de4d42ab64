"""What stays outside: foreign pages, foreign names, whoever has no key, and what is too large, too slow or no name of
ours."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from limner.serve import caps
from tests.serve.conftest import Keyed
from tests.serving import GENERATIONS, Serving, resident

ORIGINS = ("own", "http://evil.example", "null", "http://127.0.0.1:1", None)
HOSTS = ("own", "localhost", "evil.example", "10.0.0.1", "127.0.0.1.evil.example", "")
TYPES = ("application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", None)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WRONG = ({"Authorization": "Bearer lim_wrong"}, {"Authorization": "Basic !!"}, {"Cookie": "limner-key=x"})
LEAKS = ("Traceback", "/tmp/", "/src/", "site-packages", ".py", "sqlite", "Errno")


def ask(
    server: Serving, method: str, path: str, body: bytes | None = None, **headers: str | None
) -> tuple[int, dict[str, str], bytes]:
    """A request with these headers and no others."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name.replace("_", "-"), value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_only_our_own_pages_and_programs_come_in(service: Serving) -> None:
    own, body = f"127.0.0.1:{service.port}", json.dumps({"prompt": "a", "num_inference_steps": 1}).encode()
    passed: Counter[str] = Counter()
    cases = list(itertools.product(ORIGINS, HOSTS, TYPES, METHODS))
    for origin, host, kind, method in cases:
        sent = body if method in ("POST", "PUT", "PATCH", "DELETE") else None
        name = {"own": own, "localhost": f"localhost:{service.port}"}.get(host, host)
        page = f"http://{name}" if origin == "own" else origin
        status, headers, _ = ask(
            service, method, GENERATIONS, sent, Host=name, Origin=page, Content_Type=kind if sent else None
        )
        good = host in ("own", "localhost") and origin in ("own", None) and kind == "application/json"
        wanted = good and method == "POST"
        assert (status == 200) == wanted, (origin, host, kind, method, status)
        assert not any(name.startswith("access-control-") for name in headers)
        passed["drawn" if status == 200 else str(status)] += 1
    print(f"{len(cases)} combinations: {dict(passed)}")
    assert passed["drawn"] == 4


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_browsers_say_where_a_request_comes_from(service: Serving, site: str) -> None:
    answer = httpx.post(service.url + GENERATIONS, json={"prompt": "a"}, headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403


def test_no_route_answers_without_a_key(keyed: Keyed) -> None:
    described = httpx.get(f"{keyed.server.url}/openapi.json", headers=keyed.server.headers).json()["paths"]
    asked = [(path, method) for path, methods in described.items() for method in methods]
    beside = [("/openapi.json", "get"), ("/metrics", "get"), ("/nothing", "get"), ("/gradio_api/info", "get")]
    open_ones = []
    for path, method in [*asked, *beside]:
        place = path.replace("{digest}", "0" * 64).replace("{name}", "small")
        for secret in (
            {},
            {"Authorization": "Bearer lim_wrong"},
            {"Authorization": "Basic !!"},
            {"Cookie": "limner-key=x"},
        ):
            answer = httpx.request(method, keyed.server.url + place, headers=secret)
            if answer.status_code != 401:
                open_ones.append(path)
    print(f"{len(asked) + len(beside)} routes, each without a key and with three wrong ones")
    assert set(open_ones) == {"/healthz/live"}
    assert len(asked) > 30


def test_keys_open_in_each_of_their_places(keyed: Keyed) -> None:
    url, secret = f"{keyed.server.url}/v1/models", keyed.secret
    assert httpx.get(url, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    assert httpx.get(url, auth=("anybody", secret)).status_code == 200
    assert httpx.get(url, headers={"Cookie": f"limner-key={secret}"}).status_code == 200


def canary(folder: Path) -> Path:
    found = folder / "canary.png"
    found.write_bytes(b"\x89PNG the canary")
    return found


def strings(target: Path) -> list[str]:
    """Ways to name a file outside."""
    place = str(target)
    ups = [f"{up * depth}{place.lstrip('/')}" for up in ("../", "..\\", "..;/", "....//") for depth in (1, 2, 3, 6, 12)]
    plain = [place, f"//{place}", f"file://{place}", f"file={place}", f"\\\\localhost\\c$\\{target.name}", *ups,
             f"C:{place}", f"~{place}", "..", "../", "/", ".", "%00", f"{place}%00.png", f"{place}\x00.png", "CON",
             "/etc/passwd", "/proc/self/environ", "a" * 5000, "%", "\u2025/\u2025/etc/passwd"]  # fmt: skip
    once = [one.replace("/", "%2f").replace(".", "%2e").replace("\\", "%5c") for one in plain]
    twice = [one.replace("%", "%25") for one in once]
    wide = [one.replace("/", "%c0%af").replace(".", "%c0%ae") for one in plain]
    mixed = [f"{'0' * 64}/{one}" for one in plain] + [f"{one}/{'0' * 64}" for one in plain[:20]]
    return list(dict.fromkeys([*plain, *once, *twice, *wide, *mixed]))


def test_no_name_from_outside_is_a_place(service: Serving, tmp_path: Path) -> None:
    found = strings(canary(tmp_path))
    assert len(found) >= 200
    codes: Counter[int] = Counter()
    for one in found:
        for before, after in (("/v1/images/files/", ".png"), ("/v1/images/files/", ""), ("/v1/models/", ""), ("/", "")):
            path = (before + one + after).encode("utf-8", "replace").decode("latin-1")
            path = "".join(char if 0x21 <= ord(char) < 0x7F else f"%{ord(char):02x}" for char in path)
            status, _, data = ask(service, "GET", path, Host=f"127.0.0.1:{service.port}")
            codes[status] += 1
            assert b"the canary" not in data
            assert b"root:" not in data
    for one in found:
        body = {"prompt": "a", "model": one, "num_inference_steps": 1}
        answer = httpx.post(service.url + GENERATIONS, json=body)
        codes[answer.status_code] += 1
        assert answer.status_code in (400, 404)
    print(f"{len(found)} strings in five places: {dict(codes)}")
    assert set(codes) <= {400, 404, 405, 307, 421}


@pytest.mark.parametrize(
    ("field", "most", "wrong"),
    [
        ("prompt", "x" * caps.PROMPT, "x" * (caps.PROMPT + 1)),
        ("negative_prompt", "x" * caps.PROMPT, "x" * (caps.PROMPT + 1)),
        ("n", 10, 11),
        ("num_inference_steps", 1, 0),
        ("seed", 0, -1),
        ("user", "x" * 512, "x" * 513),
    ],
)
def test_fields_at_their_caps_and_beyond(service: Serving, field: str, most: Any, wrong: Any) -> None:
    body = {"prompt": "a", "num_inference_steps": 1}
    assert httpx.post(service.url + GENERATIONS, json=body | {field: most}, timeout=60).status_code == 200
    assert httpx.post(service.url + GENERATIONS, json=body | {field: wrong}, timeout=60).status_code == 400


def test_bodies_at_their_cap_and_beyond(service: Serving) -> None:
    before = service.memory()
    beyond = b'{"prompt": "' + b"x" * caps.BODY + b'"}'
    assert httpx.post(service.url + GENERATIONS, content=beyond, headers=JSON, timeout=60).status_code == 413

    def chunks() -> Any:
        for _ in range(2 + caps.BODY // (1 << 20)):
            yield b"x" * (1 << 20)

    try:
        status = httpx.post(service.url + GENERATIONS, content=chunks(), headers=JSON, timeout=60).status_code
    except httpx.TransportError:  # it hangs up on who goes on sending
        status = 413
    assert status == 413
    assert service.memory() - before < 3 * caps.BODY
    assert service.answers("/healthz/ready")


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"7", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"prompt":' * 10_000, b"1" * 10_000,
        b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", b'{"prompt": "a", "guidance_scale": NaN}',
        b'{"prompt": "a", "guidance_scale": 1e999}', b'{"prompt": "\\ud800"}', b'{"prompt": {"a": 1}}',
    ],
)  # fmt: skip
def test_bodies_that_are_none(service: Serving, body: bytes) -> None:
    answer = httpx.post(service.url + GENERATIONS, content=body, headers=JSON, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert not any(leak in answer.text for leak in LEAKS)


def test_headers_without_end(service: Serving) -> None:
    with socket.create_connection(("127.0.0.1", service.port), 10) as line:
        line.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        try:
            for _ in range(200):
                line.sendall(b"X-Filling: " + b"x" * 1000 + b"\r\n")
            answer = line.recv(100)
        except ConnectionError:
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 2")


def test_every_answer_has_strict_headers(service: Serving) -> None:
    for path in ("/v1/models", "/v1/nothing", "/sdapi/v1/options", "/metrics", "/healthz/live"):
        headers = httpx.get(service.url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "server" not in headers


def test_nothing_is_fetched_on_behalf_of_a_request(service: Serving) -> None:
    """Whoever is named in any text of any request hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as ear:
        ear.settimeout(0.5)
        url = f"http://127.0.0.1:{ear.getsockname()[1]}/a.png"
        described = httpx.get(f"{service.url}/openapi.json").json()
        asked = 0
        for path, methods in described["paths"].items():
            content = methods.get("post", {}).get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            if schema is None:
                continue
            for body in bodies(resolved(schema, described), url):
                httpx.post(service.url + path, json=body, timeout=60)
                asked += 1
        for kind in ("edits", "variations"):
            httpx.post(f"{service.url}/v1/images/{kind}", files={"prompt": (None, url), "image": (None, url)})
        print(f"{asked} requests with an address in each of their texts")
        assert asked > 40
        with pytest.raises(TimeoutError):
            ear.accept()


def resolved(schema: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return described["components"]["schemas"][name] if name else schema


def bodies(schema: dict[str, Any], url: str) -> list[dict[str, Any]]:
    """One for each field that may hold a text, or a list or an object of any."""
    base = {"prompt": "a", "steps": 1} if "steps" in schema.get("properties", {}) else {"prompt": "a"}
    found = []
    for name, about in schema.get("properties", {}).items():
        told = json.dumps(about)
        values: list[Any] = [url] if '"string"' in told else []
        values += [[url], [{"image_url": url}], [{"file_id": url}]] if '"array"' in told else []
        values += [{"image_url": url}, {"url": url}] if '"object"' in told or "$ref" in told else []
        found += [{**base, name: value} for value in values]
    return found


def test_a_body_that_comes_drop_by_drop_is_not_waited_for(service: Serving) -> None:
    """Nor does it keep others waiting meanwhile."""
    line = socket.create_connection(("127.0.0.1", service.port), 10)
    head = f"POST {GENERATIONS} HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\nContent-Type: application/json\r\n"
    line.sendall(head.encode() + b"Content-Length: 1000\r\n\r\n{")
    began = time.monotonic()
    assert httpx.get(f"{service.url}/v1/models", timeout=5).status_code == 200
    assert time.monotonic() - began < 5
    line.close()


def test_memory_is_as_before(service: Serving) -> None:
    """After all of the above."""
    assert service.process
    assert resident(service.process.pid) < 1 << 30
