"""A search for better settings, on the validation part of the train split alone."""

from __future__ import annotations

import contextlib
import datetime
import math
import signal
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.config import Config, parse_config
from pipeline.operations.tuning_data import Prepared, prepare
from pipeline.operations.tuning_file import to_toml
from pipeline.runtime import ConfigError, PipelineError

if TYPE_CHECKING:
    from modules.tuning import Trial

Tables = dict[str, dict[str, Any]]


class Candidate(NamedTuple):
    """A trial, and what of the configuration it changes.

    Attributes:
        trial: How long it took and how good it was.
        tables: The whole configuration, as TOML holds it.
        changes: By key, such as `training.margin`; nothing for the configuration as it is.
    """

    trial: Trial
    tables: Tables
    changes: dict[str, Any]


class Tuned(NamedTuple):
    """What a search found.

    Attributes:
        candidates: Best first, see `modules.tuning.ranked`; at least one.
        failed: Those without scores.
        seed: That the candidates were drawn with.
        interrupted: Whether it was ended from outside.
    """

    candidates: list[Candidate]
    failed: list[Candidate]
    seed: int
    interrupted: bool

    @property
    def best(self) -> Candidate:
        """The first of the candidates."""
        return self.candidates[0]


def check_minutes(minutes: float) -> None:
    """Fails before anything slow is done.

    Raises:
        ConfigError: Two trials do not fit.
    """
    from modules.tuning import LEAST_SECONDS

    least = 2 * LEAST_SECONDS
    if not least <= 60 * minutes < math.inf:
        raise ConfigError(
            f"--minutes {minutes:g} is not enough for two trials, which take at least {least:g} "
            f"seconds. Give {least / 60:.2f} or more; several minutes find something."
        )


def tune(path: Path, minutes: float, on_trial: Callable[[Candidate], None]) -> Tuned:
    """Searches settings for a configuration.

    First the nodes up to TripletGen run, in a folder of their own, and Transform for each size that
    is tried. Then the minutes begin. They are exceeded by no more than the end of one stretch of
    training and its validation.

    SIGINT and SIGTERM end the search; what was found until then is returned.

    Args:
        path: Of the configuration.
        minutes: Of the trials together.
        on_trial: Called with each trial that has ended.

    Raises:
        ConfigError: The configuration cannot be used, or the minutes are too few for two trials.
        PipelineError: There is no data, or every trial failed.
        KeyboardInterrupt: It was ended before a trial was.
    """
    given: Tables = tomllib.loads(path.read_text(encoding="utf-8"))
    config = parse_config(given, str(path))
    check_minutes(minutes)
    if config.training.workers is not None:
        raise ConfigError(
            "A search trains on one machine, and training.distribution is 'multi_worker'. Search "
            "with distribution = 'one' and without workers, and put them into the configuration "
            "that it writes."
        )

    from modules.tuning import (
        Halving,
        Trials,
        apply_values,
        ranked,
        read_trial_data,
        search_space,
        train_trial,
    )

    graphs, prepared = _transform_graphs(config)
    try:
        data = read_trial_data(prepared.train_files, prepared.validation_files)
    except ValueError as error:
        raise PipelineError(f"There is nothing to train or to validate on: {error}") from error
    space = search_space(
        config.model,
        config.training,
        [size for size, _ in graphs.values()],
        keep_network=config.pipeline.warm_start,
    )
    oracle = Halving(space, config.training.seed, minutes)

    def tables_of(values: Mapping[str, Any]) -> Tables:
        return apply_values(given, values, oracle.own_values, config.training)

    def train(values: Mapping[str, Any], seconds: float) -> dict[str, float]:
        chosen = parse_config(tables_of(values), f"A trial of {path}")
        _, graph = graphs[values["image.size"]]
        return train_trial(data, graph, chosen.model, chosen.training, seconds)

    def candidate(trial: Trial) -> Candidate:
        tables = tables_of(trial.values)
        return Candidate(trial, tables, _changes(given, tables))

    with tempfile.TemporaryDirectory() as folder:
        search = Trials(oracle, train, folder, lambda trial: on_trial(candidate(trial)))
        interrupted = _search(search)
    found = [candidate(trial) for trial in ranked(search.ended)]
    failed = [candidate(trial) for trial in search.ended if trial.error is not None]
    if not found:
        if interrupted:
            raise KeyboardInterrupt
        raise PipelineError(_why_nothing(failed, minutes))
    if len(found) < 2 and not interrupted:
        raise ConfigError(
            f"--minutes {minutes:g} is too few: only one trial came to an end"
            + (f", and {len(failed)} failed ({failed[0].trial.error})" if failed else "")
            + ". Give more minutes."
        )
    return Tuned(found, failed, config.training.seed, interrupted)


def write_tuned(tuned: Tuned, output: Path, command: str, minutes: float) -> None:
    """Writes the configuration with the best keys, which `load_config` takes.

    Args:
        tuned: What was found.
        output: A TOML file.
        command: The command that found it, for the header.
        minutes: Of the search.
    """
    trial = tuned.best.trial
    keys = "; ".join(describe(tuned.best.changes)) or "nothing: no trial was better"
    header = [
        f"Made by: {command}",
        f"{datetime.date.today().isoformat()}, {minutes:g} minutes"
        + (" (ended early)" if tuned.interrupted else "")
        + f", {len(tuned.candidates)} candidates, seed {tuned.seed}.",
        f"Validation part: P@1 {trial.precision_at_1:.4f}, MAP@R {trial.map_at_r:.4f} after "
        f"{trial.seconds:.0f} s. It was selected on, so it is optimistic;",
        "what counts is the Evaluator's score of the eval split, which the search never saw.",
        f"Changed: {keys}",
    ]
    text = "".join(f"# {line}\n" for line in header) + "\n" + to_toml(tuned.best.tables)
    parse_config(tomllib.loads(text), str(output))
    output.write_text(text, encoding="utf-8")


def describe(changes: Mapping[str, Any]) -> list[str]:
    """As `training.margin = 0.4`, one for each key."""
    return [f"{key} = {value}" for key, value in changes.items()]


def _transform_graphs(config: Config) -> tuple[dict[str, tuple[Any, str]], Prepared]:
    """By name of a size: the size and the transform graph that makes it; the present one first."""
    import tensorflow_transform as tft

    from modules.images import transformed_image
    from modules.tuning import image_sizes, size_name

    prepared = prepare(config)
    image = transformed_image(tft.TFTransformOutput(prepared.transform_graph))
    graphs = {size_name(image): (image, prepared.transform_graph)}
    fixed = config.pipeline.warm_start or {"height", "width"} - {*config.image.missing}
    for size in [] if fixed else image_sizes(image, config.model.image_limits)[1:]:
        table = config.image.model_copy(update={"height": size.height, "width": size.width})
        other = prepare(config.model_copy(update={"image": table}))
        graphs[size_name(size)] = size, other.transform_graph
    return graphs, prepared


def _search(search: Any) -> bool:
    """Runs the trials; tells whether a signal ended them."""
    with _sigterm_as_interrupt():
        try:
            search.search(verbose=0)
        except KeyboardInterrupt:
            return True
    return False


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _changes(given: Tables, tables: Tables) -> dict[str, Any]:
    return {
        f"{name}.{key}": value
        for name, table in tables.items()
        for key, value in table.items()
        if given.get(name, {}).get(key) != value
    }


def _why_nothing(failed: list[Candidate], minutes: float) -> str:
    if not failed:
        return f"--minutes {minutes:g} is too few: no trial came to an end. Give more."
    return (
        f"All {len(failed)} trials failed; the first, which is the configuration as it is, with: "
        f"{failed[0].trial.error}"
    )
