"""The driver of our ExampleGens: one run reads one span, and which one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, cast

import ml_metadata as mlmd
from absl import logging
from google.protobuf import struct_pb2
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.components.example_gen import driver, input_processor, utils
from tfx.orchestration.portable import data_types
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

from components.metadata import (
    DONE,
    MADE,
    NO_DATA,
    Value,
    artifacts_by_id,
    executions_of_node,
    executions_of_run,
    find_events,
    find_execution,
    mark_failed,
    plain_values,
    update_execution,
)
from components.spans.corrections import CORRECTIONS, corrections_path, hash_corrections
from components.spans.emptied import NoDataError, check_not_emptied, check_not_empty
from components.spans.late import LATE_SPANS, LateSpans, Tried, late_spans
from components.spans.listing import fingerprint, list_files
from components.spans.patterns import SpanPattern

_SPAN, _VERSION = utils.SPAN_PROPERTY_NAME, utils.VERSION_PROPERTY_NAME
_OPTIONS = standard_component_specs.CUSTOM_CONFIG_KEY
_TRIED = (*DONE, proto.Execution.FAILED)
_SHOWN = 5  # late spans that are named


class SpanInputProcessor(input_processor.FileBasedInputProcessor):
    """Resolves to the first span after the last one that was tried, else to the latest there is.

    TFX's own processor always takes the latest span, so spans that arrived together, or while the
    machine was off, would be left out. It also fails when a file does not fit the pattern; here
    such files are ignored. Without placeholders in the patterns there is one span, 0; with a
    `range_config` it is TFX's.

    Args:
        input_base_uri: Root folder of the input.
        splits: Their patterns.
        range_config: TFX's; None for the order described above.
        tried: The spans that were tried, each with the greatest version that was.
        late: What to do with a span, or a version of one, that was not read when a later span was:
            `warn` and leave it out, `read` it before all others, or `fail`.

    Source: `tfx.components.example_gen.input_processor.FileBasedInputProcessor`.
    """

    def __init__(
        self,
        input_base_uri: str,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        tried: Tried | None = None,
        late: LateSpans = "warn",
    ) -> None:
        super().__init__(input_base_uri, splits, range_config)
        self._tried = tried or {}
        self._late = late

    def resolve_span_and_version(self) -> tuple[int, int | None]:
        """Chooses the span, and its latest version that has files for every split.

        Returns:
            Span and version; 0 and None without placeholders.

        Raises:
            NoDataError: The root folder is empty, or the folder of a span that was read before.
            ValueError: No span has files for every split, or one is late and may not be.
        """
        check_not_empty(self._input_base_uri)
        patterns = [SpanPattern.parse(split.pattern) for split in self._splits]
        if self._range_config:
            return super().resolve_span_and_version()
        if not patterns[0].has_spans:
            self._fingerprint = self._fingerprint_of(0, None)
            return 0, None
        spans = self._spans(patterns)
        last = max(self._tried, default=-1)
        late = self._late_spans(spans)
        first = late if self._late == "read" else []
        order = sorted({*first, *(s for s in spans if s > last)}) + [
            s for s in sorted(spans, reverse=True) if s <= last and s not in first
        ]
        for span in order:
            for version in sorted(spans[span], key=lambda v: v or 0, reverse=True):
                if self._is_complete(span, version):
                    self._fingerprint = self._fingerprint_of(span, version)
                    return span, version
            check_not_emptied(self._input_base_uri, patterns, span, was_read=span in self._tried)
        wanted = ", ".join(f"{split.name}: {split.pattern!r}" for split in self._splits)
        raise ValueError(
            f"There is no span in {self._input_base_uri}: no files match the patterns {wanted} "
            "with the same span for every split. Add data, or correct the pattern; numbers filled "
            "up with zeros, such as 007, need their width: {SPAN:3}."
        )

    def _late_spans(self, spans: dict[int, set[int | None]]) -> list[int]:
        """The late spans that have files for every split; says them, or fails, as is asked."""
        found = {
            span: {v for v in spans[span] if self._is_complete(span, v)}
            for span in late_spans(spans, self._tried)
        }
        late = late_spans({span: whole for span, whole in found.items() if whole}, self._tried)
        if late and self._late != "read":
            text = (
                f"{', '.join(self._named(span, found[span]) for span in late[:_SHOWN])}"
                f"{', …' if len(late) > _SHOWN else ''} in {self._input_base_uri} arrived after a "
                "later span was read"
            )
            if self._late == "fail":
                raise ValueError(
                    f'{text}, and [data] late_spans = "fail". Set it to "read" to read them now, '
                    'to "warn" to leave them out, or remove their folders.'
                )
            logging.warning('%s, and no run reads them; [data] late_spans = "read" does.', text)
        return late

    def _named(self, span: int, versions: Iterable[int | None]) -> str:
        """The pattern of its files, as people know spans by their folders."""
        newest = max(versions, key=lambda version: version or 0)
        return next(pattern for _, pattern in self.patterns(span, newest))

    def _spans(self, patterns: list[SpanPattern]) -> dict[int, set[int | None]]:
        """Versions by span, of all folders or files that are named like one."""
        found: dict[int, set[int | None]] = {}
        base = os.path.join(self._input_base_uri, "")  # noqa: PTH118 — may be a URI
        for pattern in patterns:
            for path in list_files(base, pattern.folders):
                if match := pattern.find(path.removeprefix(base)):
                    found.setdefault(match[0], set()).add(match[1])
        return found

    def _fingerprint_of(self, span: int, version: int | None) -> str:
        return "\n".join(
            fingerprint(name, self._input_base_uri, pattern)
            for name, pattern in self.patterns(span, version)
        )

    def files(self, span: int, version: int | None) -> Iterator[str]:
        """All files of a span, split by split."""
        for _, pattern in self.patterns(span, version):
            yield from list_files(self._input_base_uri, pattern)

    def patterns(self, span: int, version: int | None) -> Iterator[tuple[str, str]]:
        """Split and the pattern of its files below the root folder, for each split."""
        for split in self._splits:
            yield split.name, self.get_pattern_for_span_version(split.pattern, span, version)

    def _is_complete(self, span: int, version: int | None) -> bool:
        """Whether every split has a file; an empty folder is no data."""
        empty = [
            name
            for name, pattern in self.patterns(span, version)
            if not list_files(self._input_base_uri, pattern)
        ]
        if empty and len(empty) < len(list(self._splits)):
            logging.warning(
                "Span %d%s in %s is left out: there are no files of the split %s.",
                span,
                "" if version is None else f" version {version}",
                self._input_base_uri,
                ", ".join(empty),
            )
        return not empty


class SpanDriver(driver.FileBasedDriver):
    """TFX's driver of file-based ExampleGens, which reads the spans in order.

    A span counts as tried when an execution of this node on the same folder has ended with it, well
    or not; a killed one has not ended. So each span is read once, a corrupt one does not block
    those after it, and when nothing new is there the latest span is resolved again: its execution
    is cached, or read again if its files have changed.

    Source: `tfx.components.example_gen.driver.FileBasedDriver`.
    """

    INPUT_PROCESSOR: type[SpanInputProcessor] = SpanInputProcessor

    _tried: Tried | None = None
    _late: LateSpans = "warn"

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        input_base_uri: str | None = None,
    ) -> SpanInputProcessor:
        """Returns the processor of the input folder."""
        assert input_base_uri is not None  # our ExampleGens read files
        return self.INPUT_PROCESSOR(input_base_uri, splits, range_config, self._tried, self._late)

    def resolve_exec_properties(
        self, exec_properties: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """As TFX; the content of the corrections joins the fingerprint of the input.

        Raises:
            ValueError: As TFX, or there are no such corrections.
        """
        resolved: dict[str, Any] = super().resolve_exec_properties(exec_properties, *args, **kwargs)
        if path := corrections_path(exec_properties):
            resolved[utils.FINGERPRINT_PROPERTY_NAME] += f"\n{CORRECTIONS}:{hash_corrections(path)}"
        return resolved

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Resolves span, version and fingerprint, and notes the span with the execution.

        Raises:
            NoDataError: The folder of the data, or of a span, is empty.
            ValueError: There is no span, or a pattern is wrong. The execution is marked as failed,
                which TFX does for executors only.
        """
        with self._mlmd_connection as connection:
            store = connection.store
            own, others = _executions(store, execution_info)
            self._tried = _tried_spans(store, others)
            self._late = _take_late(execution_info.exec_properties)
            try:
                output = super().run(execution_info)
            except Exception as error:
                if own:
                    mark_failed(store, own, f"{type(error).__name__}: {error}")
                    if isinstance(error, NoDataError):
                        update_execution(store, own, **{NO_DATA: 1})
                raise
            if own:
                # For a failing executor, whose execution has no artifact that tells the span.
                noted = {
                    name: output.exec_properties[name].int_value
                    for name in (_SPAN, _VERSION)
                    if name in output.exec_properties
                }
                update_execution(store, own, **noted)
            return output


def _executions(
    store: mlmd.MetadataStore, info: data_types.ExecutionInfo
) -> tuple[proto.Execution | None, list[proto.Execution]]:
    """The execution of this node in this run, and its ended ones in other runs."""
    pipeline, node = info.pipeline_info.id, info.pipeline_node.node_info.id
    own = find_execution(store, pipeline, info.pipeline_run_id, node)
    of_run = {e.id for e in executions_of_run(store, info.pipeline_run_id)}
    return own, [
        e
        for e in executions_of_node(store, pipeline, node)
        if e.id not in of_run
        and e.last_known_state in _TRIED
        and (own is None or _source(e) == _source(own))
    ]


def _source(execution: proto.Execution) -> Value | None:
    """What the numbers of the spans belong to: one run on other data must not skip any here."""
    return plain_values(execution).get(standard_component_specs.INPUT_BASE_KEY)


def _tried_spans(
    store: mlmd.MetadataStore, executions: list[proto.Execution]
) -> dict[int, int | None]:
    """The spans and versions noted with the executions, or with the artifacts that they made."""
    events = find_events(store, MADE, executions=(e.id for e in executions))
    artifacts = artifacts_by_id(store, (event.artifact_id for event in events))
    tried: dict[int, int | None] = {}
    for values in (plain_values(item) for item in (*executions, *artifacts.values())):
        if _SPAN in values:
            span, version = int(values[_SPAN]), values.get(_VERSION)
            known = [v for v in (tried.get(span), version) if v is not None]
            tried[span] = max(map(int, known), default=None)
    return tried


def _take_late(exec_properties: dict[str, Any]) -> LateSpans:
    """Reads what to do with late spans, and removes it from the options of the executor.

    It is no matter of the examples, and so not of their cache key.
    """
    custom_config, options = example_gen_pb2.CustomConfig(), struct_pb2.Struct()
    text = exec_properties.get(_OPTIONS)
    if not text:
        return "warn"
    proto_utils.json_to_proto(text, custom_config)
    if not custom_config.custom_config.Unpack(options) or LATE_SPANS not in options:
        return "warn"
    late = options[LATE_SPANS]
    del options.fields[LATE_SPANS]
    custom_config.custom_config.Pack(options)
    exec_properties[_OPTIONS] = proto_utils.proto_to_json(custom_config)
    return cast(LateSpans, late)
