"""Which spans a run takes up, from a lineage in a real metadata store."""

from __future__ import annotations

import ml_metadata as mlmd
import pytest
from hypothesis import given, strategies as st
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.types import standard_artifacts

from components.metadata.lineage import Lineage
from components.resolvers.previous_model import PreviousModelStrategy
from components.resolvers.window import FixedSpanStrategy, WindowStrategy


class Spans:
    """ExampleGen, StatisticsGen and ExampleValidator of many runs, as TFX writes them."""

    def __init__(self) -> None:
        connection = proto.ConnectionConfig()
        connection.fake_database.SetInParent()
        self.store = mlmd.MetadataStore(connection)
        self._artifact_kinds = {
            name: self.store.put_artifact_type(proto.ArtifactType(name=name))
            for name in ("Examples", "ExampleStatistics", "ExampleAnomalies", "Model")
        }
        self._nodes = {
            name: self.store.put_execution_type(proto.ExecutionType(name=name))
            for name in ("ExampleGen", "StatisticsGen", "ExampleValidator", "TripletGen")
        }
        self.all: list[standard_artifacts.Examples] = []

    def put(self, kind: str) -> int:
        return self.store.put_artifacts([proto.Artifact(type_id=self._artifact_kinds[kind])])[0]

    def execution(
        self, node: str, inputs: dict[str, int], outputs: dict[str, int], splits: str = "8:2"
    ) -> None:
        execution = proto.Execution(type_id=self._nodes[node])
        execution.custom_properties["output_config"].string_value = splits
        (number,) = self.store.put_executions([execution])
        events = []
        for kind, artifacts in ((proto.Event.INPUT, inputs), (proto.Event.OUTPUT, outputs)):
            for key, artifact in artifacts.items():
                event = proto.Event(execution_id=number, artifact_id=artifact, type=kind)
                event.path.steps.add().key = key
                events.append(event)
        self.store.put_events(events)

    def read(self, span: int, *, splits: str = "8:2") -> standard_artifacts.Examples:
        artifact = standard_artifacts.Examples()
        artifact.id = self.put("Examples")
        artifact.set_int_custom_property("span", span)
        self.execution("ExampleGen", {}, {"examples": artifact.id}, splits)
        self.all.append(artifact)
        return artifact

    def read_from_cache(self, artifact: standard_artifacts.Examples) -> None:
        self.execution("ExampleGen", {}, {"examples": artifact.id})

    def validate(
        self, artifact: standard_artifacts.Examples, previous: int | None = None, ok: bool = True
    ) -> int:
        """StatisticsGen and ExampleValidator; returns the statistics."""
        statistics = self.put("ExampleStatistics")
        self.execution("StatisticsGen", {"examples": artifact.id}, {"statistics": statistics})
        earlier = {} if previous is None else {"previous_statistics": previous}
        anomalies = {"anomalies": self.put("ExampleAnomalies")} if ok else {}
        self.execution("ExampleValidator", {"statistics": statistics, **earlier}, anomalies)
        return statistics

    def passed(self, span: int, *, splits: str = "8:2") -> standard_artifacts.Examples:
        artifact = self.read(span, splits=splits)
        self.validate(artifact)
        return artifact

    def resolve(
        self, strategy: WindowStrategy, current: standard_artifacts.Examples
    ) -> list[standard_artifacts.Examples]:
        resolved = strategy.resolve_artifacts(
            self.store, {"examples": [current], "candidates": list(self.all)}
        )
        assert resolved["candidates"] == []
        return resolved["examples"]


@given(
    spans=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=8),
    window=st.integers(1, 5),
)
def test_the_window_is_what_a_plain_loop_finds(spans: list[tuple[int, bool]], window: int) -> None:
    lineage = Spans()
    expected: dict[int, int] = {}
    for span, ok in spans:
        artifact = lineage.read(span)
        lineage.validate(artifact, ok=ok)
        if ok:
            expected[span] = artifact.id
    current = artifact
    expected[spans[-1][0]] = current.id
    found = lineage.resolve(WindowStrategy(window), current)
    assert [one.id for one in found] == [expected[span] for span in sorted(expected)[-window:]]


def test_a_refused_span_and_one_never_validated_are_left_out() -> None:
    spans = Spans()
    first = spans.passed(1)
    spans.validate(spans.read(2), ok=False)
    spans.read(3)
    current = spans.passed(4)
    assert spans.resolve(WindowStrategy(4), current) == [first, current]


def test_being_compared_with_says_nothing_about_a_span() -> None:
    spans = Spans()
    refused = spans.read(1)
    statistics = spans.validate(refused, ok=False)
    current = spans.read(2)
    newer = spans.validate(current, previous=statistics)
    assert spans.resolve(WindowStrategy(2), current) == [current]
    assert Lineage(spans.store).validated_statistics([refused.id, current.id]) == {
        current.id: newer
    }


def test_of_a_span_the_artifact_delivered_last_counts() -> None:
    spans = Spans()
    old = spans.passed(1)
    new = spans.passed(1)
    current = spans.passed(2)
    assert spans.resolve(WindowStrategy(2), current) == [new, current]
    spans.read_from_cache(old)  # the files are as they were before
    assert spans.resolve(WindowStrategy(2), current) == [old, current]


def test_what_other_nodes_made_and_what_was_removed_are_passed_over() -> None:
    spans = Spans()
    first = spans.passed(1)
    removed = spans.passed(2)
    triplets = standard_artifacts.Examples()
    triplets.id = spans.put("Examples")
    spans.execution("TripletGen", {"examples": first.id}, {"triplets": triplets.id})
    spans.all.append(triplets)
    spans.all.remove(removed)  # only LIVE artifacts are candidates
    current = spans.passed(3)
    assert spans.resolve(WindowStrategy(5), current) == [first, current]


def test_spans_divided_in_another_way_never_meet() -> None:
    spans = Spans()
    spans.passed(1, splits="8:2")
    spans.passed(2, splits="8:2")
    third = spans.passed(3, splits="5:5")
    assert spans.resolve(WindowStrategy(3), third) == [third]
    assert spans.resolve(FixedSpanStrategy(span=1), third) == [third]
    fourth = spans.passed(4, splits="5:5")
    assert spans.resolve(WindowStrategy(3), fourth) == [third, fourth]


def test_a_fixed_span_is_taken_as_soon_as_it_has_passed() -> None:
    spans = Spans()
    fixed = FixedSpanStrategy(span=3, window=2)
    first, second = spans.passed(1), spans.passed(2)
    assert spans.resolve(fixed, second) == [first, second]
    third = spans.read(3)
    spans.validate(third, ok=False)
    fourth = spans.passed(4)
    assert spans.resolve(fixed, fourth) == [second, fourth]
    spans.validate(third)
    assert spans.resolve(fixed, fourth) == [third]
    assert spans.resolve(fixed, third) == [third]


def test_a_warm_start_waits_for_a_span_that_is_new_in_the_window() -> None:
    spans = Spans()
    models: list[standard_artifacts.Model] = []
    blessings: list[standard_artifacts.ModelBlessing] = []

    def previous(window: list[standard_artifacts.Examples]) -> int | None:
        resolved = PreviousModelStrategy(0).resolve_artifacts(
            spans.store,
            {"model": list(models), "model_blessing": list(blessings), "examples": window},
        )
        assert resolved["examples"] == window
        return next((model.id for model in resolved["model"]), None)

    def train(window: list[standard_artifacts.Examples]) -> int:
        base = previous(window)
        model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
        model.id = spans.put("Model")
        read = {f"{place}": one.id for place, one in enumerate(window)}
        read |= {} if base is None else {"base_model": base}
        spans.execution("TripletGen", read, {"model": model.id})
        blessing.set_int_custom_property("current_model_id", model.id)
        blessing.set_int_custom_property("blessed", 1)
        models.append(model)
        blessings.append(blessing)
        return model.id

    one = spans.passed(1)
    first = train(spans.resolve(WindowStrategy(2), one))
    two = spans.passed(2)
    window = spans.resolve(WindowStrategy(2), two)
    assert window == [one, two]
    assert previous(window) == first
    second = train(window)
    assert previous(window) == first  # nothing new: the same inputs, every node is cached
    three = spans.passed(3)
    window = spans.resolve(WindowStrategy(2), three)
    assert window == [two, three]
    assert previous(window) == second


def test_an_artifact_that_nothing_made_is_an_error() -> None:
    spans = Spans()
    with pytest.raises(ValueError, match="No execution made"):
        Lineage(spans.store).maker(spans.put("Examples"))
