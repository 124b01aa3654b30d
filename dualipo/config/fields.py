"""The base of every table of a recipe, and the fields that several tables share.

A shared field is a type with its bounds and its meaning, so that a table only names it and gives a
default: `rank: LoraRank = 0`. `dualipo settings` shows the meanings (`catalogue.py`).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

MAX_COUNT = 10**9  # of things of which a run could have any number


class Group(BaseModel):
    """A table of the recipe, which is immutable and refuses unknown keys.

    Every number has its range, which the fields give; none is NaN or infinite.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_odd_value(cls, value: Any, info: ValidationInfo) -> Any:
        # To Python true is the number 1.
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and annotation in (int, float, int | None, float | None):
            raise ValueError(f"it is {str(value).lower()}, but it must be a number")
        if isinstance(value, str) and "\0" in value:
            raise ValueError("it holds the character NUL, which no path may have")
        return value


WeightsDtype = Annotated[
    Literal["float32", "bfloat16", "float16"],
    Field(
        description='The number format in which the weights are held: "float32", or "bfloat16" or '
        '"float16" for half the memory.'
    ),
]
MixedPrecision = Annotated[
    Literal["no", "bf16"],
    Field(
        description='The number format of matrix products: "bf16" computes them in bfloat16 while '
        'the weights stay as they are, "no" computes in the format of the weights.'
    ),
]
LoraRank = Annotated[
    int,
    Field(
        ge=0,
        le=65_536,
        description="The rank of the LoRA that is trained: a larger one can learn more and needs "
        "more memory, and 0 trains the weights themselves.",
    ),
]
LoraAlpha = Annotated[
    int | None,
    Field(
        gt=0,
        le=1e6,
        description="The strength of the LoRA, whose output is multiplied by lora_alpha / rank; "
        "null makes that factor 1.",
    ),
]
