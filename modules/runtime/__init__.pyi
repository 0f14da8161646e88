from .output import held_back as held_back
