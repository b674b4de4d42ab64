"""The body of an edit or a variation: a form with files, or JSON with data URLs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from limner.serve import caps, uploads
from limner.serve.openai.asked import EditingJson, Reference
from limner.serve.problems import invalid

FILES, FIELDS = 17, 40  # of one form
IMAGES = ("image", "image[]")

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Sent:
    """The files as they came."""

    image: bytes
    mask: bytes | None


def is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip() == "application/json"


async def from_json(request: Request) -> tuple[EditingJson, Sent]:
    """An edit in JSON; RequestValidationError or Problem where it is none."""
    try:
        values = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is no JSON: {error}", code="invalid_json") from None
    if not isinstance(values, dict):
        raise invalid("the body is no JSON object", code="invalid_json")
    asked = validated(EditingJson, values, strict=True)
    if len(asked.images) > 1:
        raise _one_alone()
    mask = None if asked.mask is None else _referred(asked.mask, "mask")
    return asked, Sent(_referred(asked.images[0], "images"), mask)


async def from_form(request: Request, kind: type[T]) -> tuple[T, Sent]:
    """A form's fields and files; RequestValidationError or Problem where it is none."""
    try:
        form = await request.form(max_files=FILES, max_fields=FIELDS, max_part_size=caps.PART)
    except MultiPartException as error:
        raise invalid(f"the form cannot be read: {error.message}", code="invalid_form") from None
    try:
        images = [one for name in IMAGES for one in form.getlist(name)]
        mask = form.get("mask")
        asked = validated(kind, _fields(form), strict=False)
        if len(images) != 1:
            raise invalid("the form has no image: send one", param="image") if not images else _one_alone()
        sent = Sent(await _file(images[0], "image"), None if mask is None else await _file(mask, "mask"))
    finally:
        await form.close()
    return asked, sent


def validated(kind: type[T], values: Mapping[str, Any], *, strict: bool) -> T:
    try:
        return kind.model_validate(values, strict=strict)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


def _fields(form: FormData) -> dict[str, Any]:
    """All but the files. Two of one name are one too many."""
    found: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in (*IMAGES, "mask") or (value == "" and name != "prompt"):  # a field that was left empty
            continue
        if name in found:
            raise invalid(f"the form has {name[:100]} twice", param=name[:100])
        found[name] = _knobs(value) if name == "knobs" else value
    return found


def _knobs(value: object) -> object:
    """In a form an object is written as JSON."""
    try:
        return json.loads(str(value))
    except (ValueError, RecursionError):
        raise invalid("knobs are no JSON object", param="knobs") from None


async def _file(value: object, name: str) -> bytes:
    if not isinstance(value, UploadFile):
        raise invalid(f"{name} is no file: send it as one", param=name)
    if (value.size or 0) > caps.UPLOAD:
        raise uploads.too_large(name, f"has {value.size:,} bytes, and at most {caps.UPLOAD:,} are read")
    return await value.read()


def _referred(given: Reference, name: str) -> bytes:
    if given.file_id is not None or given.image_url is None:
        said = f"{name} names no picture that is sent with it: no files are kept here, so send image_url as a data URL"
        raise invalid(said, param=name)
    if not uploads.DATA_URL.match(given.image_url):
        raise invalid(f"{name} has an address, and none is ever fetched: send it as a data URL", param=name)
    return uploads.from_base64(given.image_url, name)


def _one_alone() -> Exception:
    return invalid("an edit is of one image here: send one", param="image")


def schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    """With all that it refers to in it, since it is not among the application's components."""
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})

    def inlined(part: Any) -> Any:
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            return inlined(parts[name]) if name in parts else {key: inlined(one) for key, one in part.items()}
        return [inlined(one) for one in part] if isinstance(part, list) else part

    found: dict[str, Any] = inlined(schema)
    return found


def contents(kind: type[BaseModel], *, files: Sequence[str]) -> dict[str, Any]:
    """The form as OpenAPI describes it."""
    schema = schema_of(kind)
    schema["properties"] |= {name: {"type": "string", "format": "binary"} for name in files}
    schema["required"] = [*schema.get("required", []), "image"]
    return {"multipart/form-data": {"schema": schema}}
