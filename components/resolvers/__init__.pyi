from .baseline import LatestBlessedBaselineStrategy as LatestBlessedBaselineStrategy
from .previous_index import PreviousIndexStrategy as PreviousIndexStrategy
from .previous_model import (
    TRAINING_RECIPE as TRAINING_RECIPE,
    PreviousModelStrategy as PreviousModelStrategy,
)
from .previous_statistics import PreviousStatisticsStrategy as PreviousStatisticsStrategy
from .served_index import ServedIndexStrategy as ServedIndexStrategy
from .served_model import (
    EARLIER_KEY as EARLIER_KEY,
    REFERENCE_KEY as REFERENCE_KEY,
    ServedModelStrategy as ServedModelStrategy,
)
from .unseen_model import UnseenModelStrategy as UnseenModelStrategy
from .window import (
    CANDIDATES_KEY as CANDIDATES_KEY,
    EXAMPLES_KEY as EXAMPLES_KEY,
    FixedSpanStrategy as FixedSpanStrategy,
    WindowStrategy as WindowStrategy,
)
