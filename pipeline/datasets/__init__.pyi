from .loading import data_command as data_command
