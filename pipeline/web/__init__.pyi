from .application import make_application as make_application
from .batching import Batcher as Batcher, OverloadedError as OverloadedError
from .current import CurrentVersion as CurrentVersion
from .server import run_server as run_server, server_config as server_config
from .web_settings import WebSettings as WebSettings
