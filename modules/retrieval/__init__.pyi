from .changes import RetrievalChanges as RetrievalChanges
from .class_bootstrap import (
    LEAST_CLASSES as LEAST_CLASSES,
    change_intervals as change_intervals,
    classes_needed as classes_needed,
    detectable as detectable,
)
from .definitions import (
    COLLAPSED_SPREAD as COLLAPSED_SPREAD,
    COUNTS as COUNTS,
    INTERVAL_LEVEL as INTERVAL_LEVEL,
    LOWER_IS_BETTER as LOWER_IS_BETTER,
    NEVER as NEVER,
    OPERATING_FAR as OPERATING_FAR,
    OPERATING_FRR as OPERATING_FRR,
    OPERATING_SET_NAMES as OPERATING_SET_NAMES,
    OPERATING_SLICE_NAMES as OPERATING_SLICE_NAMES,
    OPERATING_THRESHOLD as OPERATING_THRESHOLD,
    PAIR_LEVEL as PAIR_LEVEL,
    RESAMPLED_CLASSES as RESAMPLED_CLASSES,
    RESAMPLED_QUERIES as RESAMPLED_QUERIES,
    SET_NAMES as SET_NAMES,
    WITHOUT_DIRECTION as WITHOUT_DIRECTION,
    lower_end as lower_end,
    metric_names as metric_names,
    metric_of_end as metric_of_end,
    metric_range as metric_range,
    score_names as score_names,
    set_names as set_names,
    slice_threshold_names as slice_threshold_names,
    threshold_names as threshold_names,
    upper_end as upper_end,
)
from .embedding_files import temporary_folder as temporary_folder
from .extractors import (
    EMBEDDING as EMBEDDING,
    SIGNATURE as SIGNATURE,
    EmbedGallery as EmbedGallery,
    ExtractEmbeddings as ExtractEmbeddings,
    ExtractRetrievalScores as ExtractRetrievalScores,
    embedded_rows as embedded_rows,
)
from .in_memory import (
    Gallery as Gallery,
    make_gallery as make_gallery,
    nearest as nearest,
    score_against as score_against,
    score_queries as score_queries,
)
from .kept_queries import (
    QUERIES_FILE as QUERIES_FILE,
    Kept as Kept,
    KeptQueries as KeptQueries,
    read_kept_queries as read_kept_queries,
)
from .metrics import (
    RetrievalMetrics as RetrievalMetrics,
    read_metric_options as read_metric_options,
)
from .neighbours import find_neighbours as find_neighbours
from .operating_metrics import OperatingPointMetrics as OperatingPointMetrics
from .order import (
    OrderById as OrderById,
    blocks_and_shards as blocks_and_shards,
    hash_id as hash_id,
)
from .rows import (
    LabelledRows as LabelledRows,
    QueryRows as QueryRows,
    concatenate as concatenate,
)
from .shards import Shard as Shard
from .together import SearchTogether as SearchTogether
from .transforms import (
    QUERY_ROWS as QUERY_ROWS,
    SHARD_ROWS as SHARD_ROWS,
    ScoredQueries as ScoredQueries,
    ScoreQueries as ScoreQueries,
)
