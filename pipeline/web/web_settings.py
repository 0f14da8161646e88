"""What `serve` can be told."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class WebSettings:
    """Address and limits of the web application.

    Attributes:
        host: Address to listen at; by default this machine alone reaches it.
        port: 0 for any free one.
        max_megabytes: Of the body of a request.
        max_images: In a request.
        max_k: Neighbours of an image.
        rate: Requests a second of one client, in the long run; 0 for no limit.
        batch: Images in one call of the model.
        waiting: Images that may wait; a request beyond is refused at once.
        poll: Seconds between two looks at the serving folder.
        patience: Seconds for the body of a request to arrive.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_megabytes: float = 20.0
    max_images: int = 64
    max_k: int = 100
    rate: float = 0.0
    batch: int = 64
    waiting: int = 2048
    poll: float = 5.0
    patience: float = 30.0

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the address."""
        return self.host in ("127.0.0.1", "::1", "localhost")
