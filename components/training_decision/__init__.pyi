from .component import Decision as Decision, TrainingDecision as TrainingDecision
from .embedding import Embedder as Embedder
