from .loss_sums import LossSums as LossSums, mean_over_active as mean_over_active
from .triplet_loss import TripletLoss as TripletLoss
