"""Pusher: TFX's node of that name, which here shows a version only when it is complete."""

from components.pusher.component import Pusher

__all__ = ["Pusher"]
