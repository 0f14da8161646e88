"""Rounds, budget and order of a search, in the time of a clock that the trials move."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training import TrainingFailedError
from modules.tuning import LEAST_SECONDS, Halving, Trial, Trials, ranked, search_space
from modules.tuning.halving import plan_rounds

SIZES = [ImageSettings(height=28, width=28), ImageSettings(height=20, width=20)]


class Search:
    """A search whose trials take as long, and score, as a function says."""

    def __init__(self, folder, minutes: float, *, seed: int = 0, slower: float = 0.0, score=None):
        self.now = 0.0
        self.slower, self.score = slower, score or (lambda values: values["training.learning_rate"])
        space = search_space(ModelSettings(), TrainingSettings(), SIZES)
        self.oracle = Halving(space, seed, minutes, clock=lambda: self.now)
        self.given: list[float] = []
        self.tuner = Trials(self.oracle, self.train, str(folder), lambda trial: None)
        self.tuner.search(verbose=0)
        self.trials = self.tuner.ended

    def train(self, values: Any, seconds: float) -> dict[str, float]:
        self.given.append(seconds)
        self.now += seconds + self.slower
        score = self.score(values)
        return {"val_map@r": score, "val_precision@1": score}

    def of_round(self, number: int) -> list[Trial]:
        return [trial for trial in self.trials if trial.round == number]


def test_five_minutes_give_eight_short_trials_and_two_long_ones(tmp_path):
    search = Search(tmp_path, 5)
    assert [trial.round for trial in search.trials] == [0] * 8 + [1] * 2
    assert search.given == pytest.approx([300 / 2 / 8] * 8 + [300 / 2 / 2] * 2)
    assert search.now == pytest.approx(300)


def test_the_first_trial_is_the_configuration_and_it_goes_on(tmp_path):
    search = Search(tmp_path, 5, score=lambda values: float(values != search_own(tmp_path)))
    own = search.oracle.own_values
    assert search.trials[0].values == own
    first, second = search.of_round(1)
    assert (first.map_at_r, second.values) == (1.0, own)
    assert ranked(search.trials)[0].values == first.values


def search_own(folder) -> dict[str, Any]:
    space = search_space(ModelSettings(), TrainingSettings(), SIZES)
    return Halving(space, 0, 1).own_values


def test_the_best_of_a_round_train_again_best_first(tmp_path):
    search = Search(tmp_path, 80)
    assert plan_rounds(80) == [32, 8, 2]
    for earlier, later in itertools.pairwise(range(3)):
        scores = sorted((trial.map_at_r for trial in search.of_round(earlier)), reverse=True)
        again = [trial.map_at_r for trial in search.of_round(later)]
        count = len(again) - 1  # the last one may be the configuration as it is
        assert again[:count] == scores[:count]


def test_the_minutes_change_how_many_are_tried_but_not_which(tmp_path):
    def tried(minutes: float, seed: int) -> list[dict[str, Any]]:
        search = Search(tmp_path / f"{minutes}-{seed}", minutes, seed=seed)
        return [trial.values for trial in search.of_round(0)]

    short, long = tried(5, 3), tried(20, 3)
    assert len(short) < len(long)
    assert long[: len(short)] == short
    assert tried(5, 4)[1:] != short[1:]


@given(
    minutes=st.floats(2 * LEAST_SECONDS / 60, 60), slower=st.floats(0, 60), seed=st.integers(0, 99)
)
@settings(max_examples=10, deadline=None)
def test_slow_trials_are_fewer_and_the_minutes_hold(tmp_path_factory, minutes, slower, seed):
    search = Search(tmp_path_factory.mktemp("search"), minutes, seed=seed, slower=slower)
    # The last trial begins within the minutes, and has no more of them than are left.
    assert search.now <= 60 * minutes + slower + 1e-6
    assert all(seconds >= LEAST_SECONDS - 1e-6 for seconds in search.given)
    assert len(search.of_round(0)) <= plan_rounds(minutes)[0]


def test_a_trial_that_fails_is_kept_with_its_reason_and_the_search_goes_on(tmp_path):
    def score(values: dict[str, Any]) -> float:
        if values["model.name"] == "residual_cnn":
            raise TrainingFailedError("collapsed")
        return 0.5

    search = Search(tmp_path, 20, score=score)
    failed = [trial for trial in search.trials if trial.error]
    assert {trial.error for trial in failed} == {"collapsed"}
    assert {trial.values["model.name"] for trial in failed} == {"residual_cnn"}
    assert not [trial for trial in failed if trial.round]
    assert not [trial for trial in ranked(search.trials) if trial.error]


def test_an_error_of_ours_is_not_taken_for_a_bad_trial(tmp_path):
    def score(values: dict[str, Any]) -> float:
        raise TypeError("a bug")

    with pytest.raises(RuntimeError, match="a bug") as raised:
        Search(tmp_path, 5, score=score)
    assert isinstance(raised.value.__cause__, TypeError)


def test_equals_are_ranked_by_their_order_and_rounds_before_scores():
    def trial(number: int, turn: int, score: float) -> Trial:
        return Trial(number, turn, {"x": number % 10}, score, score, 1.0)

    trials = [trial(1, 0, 0.9), trial(2, 0, 0.8), trial(3, 0, 0.9), trial(12, 1, 0.7)]
    assert [one.number for one in ranked(trials)] == [12, 1, 3]
