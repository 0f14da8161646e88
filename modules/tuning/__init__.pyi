from .halving import LEAST_SECONDS as LEAST_SECONDS, Halving as Halving
from .space import (
    apply_values as apply_values,
    image_sizes as image_sizes,
    search_space as search_space,
    size_name as size_name,
)
from .trials import (
    Trial as Trial,
    TrialData as TrialData,
    Trials as Trials,
    ranked as ranked,
    read_trial_data as read_trial_data,
    train_trial as train_trial,
)
