"""The table `[compatibility]`, with the path of the logged queries."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from modules.settings import CompatibilitySettings
from pipeline.config.paths import absolute


class LoggedQueriesSettings(CompatibilitySettings):
    """`[compatibility]`: a new model beside the last blessed one, whose vectors others may keep.

    The Evaluator also searches with the new model's queries in the gallery of the last blessed
    model, and with the same queries mapped into its space. The verdict says what an index of the
    old vectors needs: `keep`, `map` or `re_embed`; see [compatibility](compatibility.md). The first
    model has nothing to be compared with and passes.
    """

    queries: Annotated[
        Annotated[str, Field(min_length=1), AfterValidator(absolute)] | None,
        Field(description=CompatibilitySettings.model_fields["queries"].description),
    ] = None
