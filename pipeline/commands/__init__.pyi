from .group import main as main
from .options import config_option as config_option
