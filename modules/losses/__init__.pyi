from .compatibility import compatibility_loss as compatibility_loss
from .loss_sums import LossSums as LossSums, mean_over_active as mean_over_active
from .loss_values import LossValues as LossValues
from .memory import Memory as Memory, Rows as Rows
from .miners import Batch as Batch, TripletIndices as TripletIndices
from .objective import Objective as Objective, make_objective as make_objective
from .own_code import try_own_code as try_own_code
from .triplet_loss import TripletLoss as TripletLoss
