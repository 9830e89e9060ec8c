"""uvicorn as the hub's listener runs it: it ends when the hub says so, logs nothing, and leaves signals alone.

Imported when a listener begins to listen: the configuration does without.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import cast

import uvicorn

from adapters.http_app import MessageApp
from adapters.http_protocol import Bounds, protocol_class
from hub.plugin import StopSignal

BACKLOG = 256


class Server(uvicorn.Server):
    """Serves until ``stop`` is set."""

    def __init__(self, config: uvicorn.Config, stop: StopSignal, bounds: Bounds) -> None:
        super().__init__(config)
        self._stop = stop
        self._handshake = bounds.head if config.ssl else None  # seconds; asyncio itself has the patience of a minute

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, as uvicorn does, with a limit for what comes before the first byte of HTTP."""
        await self.lifespan.startup()
        loop, config = asyncio.get_running_loop(), self.config
        connect = partial(
            cast("Callable[..., asyncio.Protocol]", config.http_protocol_class),
            config=config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop,
        )  # fmt: skip
        self.servers = [
            await loop.create_server(
                connect, sock=one, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=self._handshake
            )
            for one in sockets or []
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Tell whether it is time to end; asked ten times a second."""
        return self._stop.is_set() or await super().on_tick(counter)


def configured(app: MessageApp, bounds: Bounds) -> uvicorn.Config:
    """Return the loaded configuration of a server for ``app``."""
    config = uvicorn.Config(
        app,
        http=protocol_class(bounds, app.refuse),
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=bounds.keep_alive,
        timeout_graceful_shutdown=bounds.finish,
    )
    config.load()
    return config
