from .definitions import (
    COLLAPSED_SPREAD as COLLAPSED_SPREAD,
    COUNTS as COUNTS,
    LOWER_IS_BETTER as LOWER_IS_BETTER,
    NEVER as NEVER,
    SET_NAMES as SET_NAMES,
    WITHOUT_DIRECTION as WITHOUT_DIRECTION,
    metric_names as metric_names,
    score_names as score_names,
    set_names as set_names,
    slice_threshold_names as slice_threshold_names,
    threshold_names as threshold_names,
)
from .extractors import (
    SIGNATURE as SIGNATURE,
    EmbedGallery as EmbedGallery,
    ExtractEmbeddings as ExtractEmbeddings,
    ExtractRetrievalScores as ExtractRetrievalScores,
)
from .in_memory import (
    Gallery as Gallery,
    make_gallery as make_gallery,
    score_against as score_against,
    score_queries as score_queries,
)
from .metrics import (
    RetrievalMetrics as RetrievalMetrics,
    read_metric_options as read_metric_options,
)
