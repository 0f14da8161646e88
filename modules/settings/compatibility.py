"""The table `[compatibility]`: how a new model gets on with what the last blessed one has made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modules.settings.base import Fraction, Settings

Verdict = Literal["keep", "map", "re_embed"]
VERDICTS: tuple[Verdict, ...] = ("keep", "map", "re_embed")  # from the least work to the most
_OF_QUERIES = ("k", "outside_quantile", "max_changed", "min_overlap", "max_outside")


class CompatibilitySettings(Settings):
    """`[compatibility]`: a new model beside the last blessed one; see docs/compatibility.md."""

    enabled: Annotated[bool, Field(description="compare every model with the last blessed one")] = (
        True
    )
    max_cross_drop: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="of P@1 and MAP@R below the old model's own, at most, to keep or to map",
        ),
    ] = 0.01
    map_images: Annotated[
        int, Field(ge=1, le=100_000, description="of the train split, to learn the map from")
    ] = 2000
    require: Annotated[
        Literal["keep", "map"] | None,
        Field(description="a model whose verdict is more work is rejected; default: none is"),
    ] = None
    max_negative_flips: Annotated[
        Fraction | None,
        Field(description="share of queries that were right and are wrong once all is re-embedded"),
    ] = None
    queries: Annotated[
        str | None,
        Field(
            min_length=1,
            description="folder of logged query images without labels, or of TFRecord files of "
            "them; default: none",
        ),
    ] = None
    k: Annotated[int, Field(ge=1, le=1000, description="results whose overlap is measured")] = 10
    outside_quantile: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="a query is outside if its nearest image is farther than this quantile of "
            "the gallery's own nearest distances",
        ),
    ] = 0.99
    max_changed: Annotated[
        Fraction | None, Field(description="share of logged queries with another first result")
    ] = None
    min_overlap: Annotated[
        Fraction | None, Field(description="of the `k` results of both models, on average")
    ] = None
    max_outside: Annotated[
        Fraction | None, Field(description="share of logged queries outside, by the new model")
    ] = None

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> CompatibilitySettings:
        given = self.model_fields_set
        if not self.enabled and (others := sorted(given - {"enabled"})):
            raise ValueError(f"enabled = false, so {', '.join(others)} has no effect; remove it")
        unused = sorted(given & set(_OF_QUERIES))
        if self.queries is None and unused:
            raise ValueError(
                f"{', '.join(unused)} has no effect without queries: nothing is logged; set "
                "queries to a folder of images, or remove it"
            )
        return self
