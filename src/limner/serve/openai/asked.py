"""What may be asked in OpenAI's words, and in those that other servers have added to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from limner.core import nearest
from limner.pipeline import MOST_SEED
from limner.serve import caps
from limner.serve.orders import MOST_PICTURES

Prompt = Annotated[str, Field(max_length=caps.PROMPT)]
Quality = Literal["auto", "low", "medium", "high", "standard", "hd"]
Format = Literal["png", "jpeg", "webp"]


class Strict(BaseModel):
    """A field that nobody knows is refused, with the nearest that somebody does."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(f'there is no field "{str(key)[:100]}"{nearest(str(key), list(cls.model_fields))}')
        return values


class Asked(Strict):
    """What pictures and edits have in common.

    `quality`, `style`, `moderation`, `user` and `input_fidelity` choose among things that we have not: they are read
    and change nothing. `negative_prompt` to `knobs` are other servers' and ours.
    """

    model: str | None = Field(None, max_length=200)
    n: int | None = Field(1, ge=1, le=MOST_PICTURES)
    size: str | None = Field("auto", pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")
    quality: Quality | None = "auto"
    response_format: Literal["url", "b64_json"] | None = "b64_json"
    output_format: Format | None = "png"
    output_compression: int | None = Field(None, ge=0, le=100)
    background: Literal["transparent", "opaque", "auto"] | None = "auto"
    stream: bool | None = False
    partial_images: int | None = Field(0, ge=0, le=3)
    user: str | None = Field(None, max_length=512)
    negative_prompt: Prompt | None = None
    seed: int | None = Field(None, ge=0, le=MOST_SEED - MOST_PICTURES)
    num_inference_steps: int | None = Field(None, ge=1, le=caps.STEPS)
    guidance_scale: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    knobs: dict[str, Any] | None = Field(None, description="The model's own, by name.")


class Generation(Asked):
    """POST /v1/images/generations."""

    prompt: Prompt
    style: Literal["vivid", "natural"] | None = None
    moderation: Literal["low", "auto"] | None = "auto"


class Editing(Asked):
    """What an edit has beside its pictures. `strength` is how much of the image is drawn anew."""

    prompt: Prompt
    input_fidelity: Literal["high", "low"] | None = None
    moderation: Literal["low", "auto"] | None = "auto"
    strength: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)


class Variation(Strict):
    """What a variation has beside its picture: a part of what others have."""

    model: str | None = Field(None, max_length=200)
    n: int | None = Field(1, ge=1, le=MOST_PICTURES)
    size: str | None = Field("auto", pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")
    response_format: Literal["url", "b64_json"] | None = "b64_json"
    user: str | None = Field(None, max_length=512)
    seed: int | None = Field(None, ge=0, le=MOST_SEED - MOST_PICTURES)
    strength: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)


class Reference(Strict):
    """A picture in JSON: a data URL. No address is fetched, and no files are kept for later."""

    image_url: str | None = Field(None, max_length=caps.BODY)
    file_id: str | None = Field(None, max_length=200)


class EditingJson(Editing):
    """POST /v1/images/edits as JSON."""

    images: list[Reference] = Field(min_length=1, max_length=16)
    mask: Reference | None = None
