"""`[retraining]`: how many blessings may be chance, and which spans are not trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.runtime import ConfigError

MINIMAL = '[pipeline]\nname = "mine"\n[data]\npath = "photos"\n'
SPANS = 'split = "hash"\npattern = "{SPAN}/*"\n'
TESTED = '[evaluation.thresholds."map@r"]\nbetter = true\n'
BUDGET = "[retraining]\nfalse_promotions_per_year = 1\n"


def load(tmp_path: Path, text: str):
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(str(file))


def test_skipping_needs_spans_and_each_key_of_it_an_effect(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL + SPANS + "[retraining]\ntolerated_drop = 0.01").retraining
    assert (settings.tolerated_drop, settings.max_skips) == (0.01, 10)
    with pytest.raises(ConfigError, match="tolerated_drop has no effect unless the data arrives"):
        load(tmp_path, MINIMAL + "[retraining]\ntolerated_drop = 0.01")
    with pytest.raises(ConfigError, match="max_skips has no effect without tolerated_drop"):
        load(tmp_path, MINIMAL + SPANS + "[retraining]\nmax_skips = 3")


def test_the_budget_of_false_promotions_sets_the_level(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL + TESTED).judged_by.change_level == 0.95
    config = load(tmp_path, MINIMAL + TESTED + BUDGET + "runs_per_year = 52")
    assert config.judged_by.change_level == 1 - 2 / 52
    assert config.judged_by.thresholds == config.evaluation.thresholds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BUDGET, "false_promotions_per_year cannot be kept by thresholds that chance can pass"),
        (TESTED + 'undecided = "bless"\n' + BUDGET, "cannot be kept by thresholds that chance"),
        ("[evaluation]\nchange_level = 0.9\n" + TESTED + BUDGET, "change_level follows from"),
        (TESTED + "[retraining]\nruns_per_year = 52", "runs_per_year has no effect without"),
        (TESTED + BUDGET + "runs_per_year = 3", "more than one in four of 3 runs; give at most 0"),
    ],
)
def test_budgets_that_cannot_be_kept(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, MINIMAL + text)
