from .artifact import Decision as Decision
from .component import TrainingDecision as TrainingDecision
