from .component import Trainer as Trainer
