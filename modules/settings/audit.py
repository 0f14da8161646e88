"""The table `[audit]`: what of the data is looked at, and what stops the run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from modules.settings.base import Fraction, Settings


class AuditSettings(Settings):
    """`[audit]`: what DataAudit looks for, and what stops the run, see docs/audit.md.

    A copy has the same pixels, whatever its file is called and however it is encoded. A
    near-duplicate looks the same but for size, quality or light. A share of 1 never stops a run.
    """

    enabled: Annotated[bool, Field(description="look at the data of every run")] = True
    max_leaked: Annotated[
        Fraction,
        Field(description="of the eval images with a copy in train; above it the run stops"),
    ] = 0.01
    max_conflicting: Annotated[
        Fraction, Field(description="of all images with a copy that has another label; likewise")
    ] = 0.01
    max_copies: Annotated[
        Fraction, Field(description="of the images of a split that repeat one of it; likewise")
    ] = 1.0
    max_near_leaked: Annotated[
        Fraction, Field(description="of the eval images with a near-duplicate in train; likewise")
    ] = 1.0
    use_model: Annotated[
        bool, Field(description="also look with the last blessed model, for wrong labels")
    ] = True
    model_images: Annotated[
        int,
        Field(
            ge=10,
            le=10**7,
            description="the most images that it compares, chosen by hash of the id",
        ),
    ] = 20_000
    listed: Annotated[
        int, Field(ge=1, le=10_000, description="the most findings of a kind that are named")
    ] = 100

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> AuditSettings:
        given = self.model_fields_set
        if not self.enabled and (others := sorted(given - {"enabled"})):
            raise ValueError(f"enabled = false, so {', '.join(others)} has no effect; remove it")
        if not self.use_model and "model_images" in given:
            raise ValueError(
                "model_images has no effect with use_model = false; remove it, or let the model "
                "look at the data"
            )
        return self
