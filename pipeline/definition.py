"""The chain of nodes, from labelled images to a pushed model."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tfx import components as tfx_components
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata, pipeline as tfx_pipeline
from tfx.proto import trainer_pb2
from tfx.types import BaseChannel, Channel, standard_artifacts

from components.evaluator import Evaluator
from components.example_validator import ExampleValidator
from components.resolvers import (
    CANDIDATES_KEY,
    EXAMPLES_KEY,
    TRAINING_RECIPE,
    FixedSpanStrategy,
    LatestBlessedBaselineStrategy,
    PreviousModelStrategy,
    PreviousStatisticsStrategy,
    WindowStrategy,
)
from components.statistics_gen import StatisticsGen
from components.trainer import Trainer
from components.transform import Transform
from components.triplet_gen import TripletGen
from modules.contract import DISTRACTORS
from modules.gate import make_eval_config
from pipeline.audit import audit_nodes
from pipeline.beam_options import where_beam_runs
from pipeline.config import PROJECT, Config, DataSettings
from pipeline.decision import decision_nodes, set_recipe
from pipeline.example_gen import make_example_gen
from pipeline.fingerprint import (
    CODE_FINGERPRINT,
    PACKAGES,
    code_fingerprint,
    file_fingerprint,
    folder_fingerprint,
)
from pipeline.index import gallery_nodes, index_nodes, make_pusher, update_nodes
from pipeline.own_code import OWN_CODE_FINGERPRINT, own_code_fingerprint
from pipeline.report import make_report_nodes
from pipeline.schema import SCHEMA_FILE, statistics_options
from pipeline.start import Start


def create_pipeline(config: Config, start: Start | None = None) -> tfx_pipeline.Pipeline:
    """Builds the pipeline that a configuration describes.

    Args:
        config: See `pipeline.config.load_config`.
        start: In place of the nodes up to ExampleValidator and of the window; the pipeline then
            ends with the Evaluator.

    Returns:
        ExampleGen → StatisticsGen → schema → ExampleValidator → DataAudit → Transform →
        TripletGen → Trainer → Resolver → Evaluator → ReportGen → IndexGen → Pusher;
        TrainingDecision before DataAudit where it is asked for, and an index of the served model
        for the runs that it skips.
    """
    name = config.pipeline.name
    return tfx_pipeline.Pipeline(
        pipeline_name=name,
        pipeline_root=config.pipeline.root,
        components=where_beam_runs(config.beam, _nodes(config, start or _start(config))),
        enable_cache=config.pipeline.cache,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            config.pipeline.metadata
        ),
    )


def _start(config: Config) -> Start:
    example_gen = make_example_gen(config.data)
    examples = example_gen.outputs["examples"]
    statistics_gen = StatisticsGen(
        examples=examples,
        stats_options=statistics_options(),
        # They are of no class, and none of their features says anything of those that are.
        exclude_splits=[DISTRACTORS] if config.data.distractors else None,
        background=config.image.background,
    )
    statistics = statistics_gen.outputs["statistics"]
    schema_gen = _schema_gen(config.data, statistics_gen)
    schema = schema_gen.outputs["schema"]
    earlier = _previous_statistics(config.data, statistics)
    validator = ExampleValidator(
        statistics=statistics,
        schema=schema,
        previous_statistics=earlier.outputs["statistics"] if earlier else None,
        settings=config.validation,
        # Nobody should have to write a schema to have a column more.
        further_features=config.data.is_sheet and config.data.schema_file == "contract",
        # Of spans the eval splits are searched together.
        eval_is_gallery=config.evaluation.gallery_split is None and not config.data.has_spans,
    )
    # Nothing is computed from data that did not pass the validation.
    resolvers = _span_resolvers(config.data, example_gen, validator)
    evaluated = examples
    for resolver in resolvers:  # the last one is for the evaluation
        evaluated = resolver.outputs["examples"]
    examples = resolvers[0].outputs["examples"] if resolvers else examples
    nodes = [
        example_gen, statistics_gen, schema_gen,
        *([earlier] if earlier else []),
        validator, *resolvers,
    ]  # fmt: skip
    return Start(nodes, examples, evaluated, schema, statistics, example_gen, validator)


def _nodes(config: Config, start: Start) -> list[BaseNode]:
    examples, evaluated = start.examples, start.evaluated
    transform = Transform(
        examples=examples,
        schema=start.schema,
        preprocessing_fn="modules.preprocessing.preprocessing_fn",
        image=config.image,
        limits=config.model.image_limits,
        statistics=start.statistics,
        max_pixels=config.data.max_pixels,
    )
    custom_config = _custom_config(config)
    resolver = None if start.previous else _previous_model(config, examples, custom_config)
    previous = start.previous or resolver
    # What is tried out on the data of an earlier run was audited there.
    audited = audit_nodes(config, examples, evaluated, resolver) if start.example_gen else []
    audit = audited[-1].outputs["audit"] if audited else start.audit
    triplet_gen = TripletGen(
        examples=examples,
        model=previous.outputs["model"] if previous and config.triplets.needs_model else None,
        audit=audit if config.triplets.heeds_suspects else None,
        background=config.image.background,
        **config.triplets.model_dump(exclude={"rounds_on_same_data"}),
    )
    if start.validator:
        transform.add_upstream_node(start.validator)
        triplet_gen.add_upstream_node(start.validator)
    trainer = Trainer(
        module_file=str(PROJECT / "modules" / "trainer.py"),
        examples=triplet_gen.outputs["triplets"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=trainer_pb2.TrainArgs(num_steps=config.training.steps),
        base_model=previous.outputs["model"] if previous and _trains_with(config) else None,
        custom_config=custom_config,
    )
    model = trainer.outputs["model"]
    latest_blessed = Resolver(
        strategy_class=LatestBlessedBaselineStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        candidate=model,
    ).with_id("BaselineResolver")
    baseline = start.baseline or latest_blessed
    evaluator = Evaluator(
        examples=evaluated,
        model=model,
        baseline_model=baseline.outputs["model"],
        eval_config=make_eval_config(config.judged_by),
        gallery_split=config.evaluation.gallery_split,
        # Its operating point; without one the baseline's verdict is no input of the cache.
        baseline_blessing=baseline.outputs["model_blessing"]
        if config.evaluation.false_accept_rate is not None
        else None,
        max_threshold_shift=config.evaluation.max_threshold_shift,
        kept_neighbours=config.report.neighbours
        if config.report.enabled and start.example_gen
        else None,
        compatibility=config.compatibility if config.compatibility.enabled else None,
        queries_fingerprint=folder_fingerprint(config.compatibility.queries),
        module_path="modules.evaluator",
    )
    if audited:
        # It goes on beside Transform and TripletGen, but nothing is learned before it has ended.
        trainer.add_upstream_node(audited[-1])
        if start.validator:
            audited[-1].add_upstream_node(start.validator)
    for node in (transform, triplet_gen, trainer):
        _note_code(node)
    set_recipe(config, trainer, before=[transform, triplet_gen])
    decision: list[BaseNode] = []
    if start.example_gen and start.validator:
        waiting = [transform, *([resolver] if resolver else []), *audited, triplet_gen]
        decision = decision_nodes(config, start.example_gen, start.validator, trainer, waiting)
    nodes = [
        *start.nodes, *decision,
        *([resolver] if resolver else []),
        *audited, transform, triplet_gen, trainer,
        *([] if start.baseline else [latest_blessed]),
        evaluator,
        # What is tried out on the data of an earlier run is for nobody to use.
        *(
            _last_nodes(config, examples, trainer, evaluator, audited, start, decision)
            if start.example_gen
            else []
        ),
    ]  # fmt: skip
    for node in nodes:
        _note_code(node)
    return nodes


def _custom_config(config: Config) -> dict[str, Any]:
    """What the Trainer gets to know."""
    values = {
        **config.custom_config("image", "model", "training", "export"),
        CODE_FINGERPRINT: code_fingerprint(["modules.trainer"]),
        OWN_CODE_FINGERPRINT: own_code_fingerprint(config.training.own_modules),
        "weights_fingerprint": file_fingerprint(config.model.weights),
        "preset_fingerprint": folder_fingerprint(config.model.preset),
    }
    if config.training.compatibility_weight:
        values["warm_start"] = config.pipeline.warm_start
        parts = [values, config.triplets.model_dump(mode="json"), config.data.window]
        text = json.dumps(parts, sort_keys=True)
        values[TRAINING_RECIPE] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return values


def _trains_with(config: Config) -> bool:
    """Whether the Trainer needs an earlier model."""
    return config.pipeline.warm_start or config.training.compatibility_weight > 0


def _note_code(node: BaseNode) -> None:
    if entries := code_entries(node):
        node.exec_properties[CODE_FINGERPRINT] = code_fingerprint(entries)


def code_entries(node: BaseNode) -> set[str]:
    """Names the modules of this project that a node begins with: executor, driver, user code.

    Args:
        node: Any node. There are none for nodes of TFX itself without user code, nor for resolvers,
            which TFX never caches.
    """
    properties = node.exec_properties
    functions = [properties.get(key) for key in ("preprocessing_fn", "run_fn")]
    modules = [
        properties.get("module_path"),
        *(function.rpartition(".")[0] for function in functions if function),
    ]
    if isinstance(node, BaseComponent):
        modules.append(node.executor_spec.executor_class.__module__)
        modules.append(node.driver_class.__module__)
    return {module for module in modules if module and module.partition(".")[0] in PACKAGES}


def _previous_model(
    config: Config, examples: BaseChannel, custom_config: dict[str, Any]
) -> Resolver | None:
    """Resolves the model to mine with, to start from and to stay compatible with.

    Without that need nothing depends on it. A warm start alone waits for new examples: training on
    from a model on the data that it was trained on is what more steps are for. To stay compatible
    waits for new examples or another recipe.
    """
    mines = config.triplets.needs_model
    if not (mines or _trains_with(config)):
        return None
    rounds = config.triplets.rounds_on_same_data if mines else 0
    recipe = {"recipe": r} if (r := custom_config.get(TRAINING_RECIPE)) else {}
    return Resolver(
        strategy_class=PreviousModelStrategy,
        config={"rounds_on_same_data": rounds, **recipe},
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        examples=examples,
    ).with_id("PreviousModelResolver")


def _last_nodes(
    config: Config,
    examples: BaseChannel,
    trainer: BaseComponent,
    evaluator: BaseComponent,
    audited: list[BaseNode],
    before: Start,
    decision: list[BaseNode],
) -> list[BaseNode]:
    """The report and what brings the model, or an index of the served one, to those who use it."""
    model, blessing = trainer.outputs["model"], evaluator.outputs["blessing"]
    report_nodes = make_report_nodes(config, trainer, evaluator, audited)
    own = gallery_nodes(config, before.validator, trainer)
    gallery = own[-1].outputs["examples"] if own else examples
    indexed = index_nodes(config, gallery, model, blessing)
    pusher = make_pusher(
        config,
        model,
        blessing,
        index=indexed[-1].outputs["index"] if indexed else None,
        report=report_nodes[-1].outputs["report"] if report_nodes else None,
    )
    updating = update_nodes(config, gallery, decision[-1]) if decision else []
    return [*own, *updating, *report_nodes, *indexed, pusher]


def _span_resolvers(
    data: DataSettings, example_gen: BaseComponent, validator: BaseComponent
) -> list[Resolver]:
    """What to train on, and to evaluate on if that is another span; nothing without spans."""
    if not data.has_spans:
        return []
    channels = {
        EXAMPLES_KEY: example_gen.outputs["examples"],
        CANDIDATES_KEY: Channel(type=standard_artifacts.Examples),
    }
    window = {"window": data.window}
    resolvers = [
        Resolver(strategy_class=WindowStrategy, config=window, **channels).with_id("WindowResolver")
    ]
    if data.fixed_span is not None:
        config = {"span": data.fixed_span, **window}
        resolvers.append(
            Resolver(strategy_class=FixedSpanStrategy, config=config, **channels).with_id(
                "EvaluationResolver"
            )
        )
    for resolver in resolvers:
        resolver.add_upstream_node(validator)
    return resolvers


def _previous_statistics(data: DataSettings, statistics: BaseChannel) -> Resolver | None:
    """Resolves what the current span is compared with; nothing without spans."""
    if not data.has_spans:
        return None
    return Resolver(
        strategy_class=PreviousStatisticsStrategy,
        statistics=Channel(type=standard_artifacts.ExampleStatistics),
        current=statistics,
    ).with_id("PreviousStatisticsResolver")


def _schema_gen(data: DataSettings, statistics_gen: BaseComponent) -> BaseComponent:
    """The data contract or a curated schema is imported; `inferred` leaves it to the statistics."""
    if data.schema_file == "inferred":
        return tfx_components.SchemaGen(statistics=statistics_gen.outputs["statistics"])
    path = str(SCHEMA_FILE if data.schema_file == "contract" else data.schema_file)
    node = ImportSchemaGen(schema_file=path)
    # TFX knows only the path; an edited schema must be imported again.
    node.exec_properties["schema_fingerprint"] = file_fingerprint(path)
    return node
