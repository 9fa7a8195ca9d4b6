"""A provider's node in one process: gateway, meter, readings and reports. `run_node` serves until SIGINT or SIGTERM.

Time lost by kill -9: what was used since the last reading, so at most one interval. An orderly end loses none: it
stops taking requests, seals every lease, and tries once more to report.
"""

import asyncio
import logging
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import uvicorn

from commonhold import keyfile
from commonhold.access.dpop import NonceKeys
from commonhold.agent import telemetry
from commonhold.agent.clock import NodeClock, next_boot_ms
from commonhold.agent.meter import MAX_READINGS, NodeMeter
from commonhold.agent.report import Reporter, ServiceUnreachable
from commonhold.agent.spool import Spool, open_spool
from commonhold.agent.telemetry import Telemetry
from commonhold.gateway.app import Gateway, Public
from commonhold.gateway.authorize import Authorizer
from commonhold.gateway.config import NodeConfig
from commonhold.gateway.keyset import IssuerKeys
from commonhold.listen import listen

GRACEFUL_S = 5  # for requests in flight when the node stops
LAST_REPORT_S = 3.0
TELEMETRY_S = 10

log = logging.getLogger(__name__)


def run_node(config: NodeConfig) -> None:
    """Serves until SIGINT or SIGTERM. Raises CommonholdError when it cannot start or cannot meter."""

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(config, stop)

    asyncio.run(main())


async def serve(config: NodeConfig, stop: asyncio.Event, ready: Callable[[int], None] = lambda port: None) -> None:
    """The same inside a running loop, until `stop`. `ready` is called with the port once requests are taken."""
    async with AsyncExitStack() as stack:
        spool = open_spool(Path(config.spool))
        stack.callback(spool.close)
        boot_ms = next_boot_ms(time.time_ns() // 1_000_000, spool.last_ms)
        meter = NodeMeter(
            domain=config.domain,
            key=keyfile.read_or_write_p256(Path(config.meter_key)),
            asset=config.asset_id,
            gpus=config.gpus,
            spool=spool,
            clock=NodeClock(boot_ms),
            max_readings=MAX_READINGS,
            max_segment_ms=config.segment_ms,
        )
        # trust_env: a proxy from the environment must not see tokens, nor stand between gateway and upstream.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        tls = httpx.create_ssl_context()  # one for all: reading the root certificates takes longest of the start
        issuer = await stack.enter_async_context(httpx.AsyncClient(verify=tls, trust_env=False, timeout=5))
        service = await stack.enter_async_context(
            httpx.AsyncClient(base_url=config.service_url, verify=tls, trust_env=False, timeout=10)
        )
        upstream = await stack.enter_async_context(httpx.AsyncHTTPTransport(tls, limits=limits, trust_env=False))
        reporter = Reporter(spool, service, config.domain)
        watch = _Watch()
        gateway = _gateway(config, issuer, upstream, meter, reporter, lambda: _status(config, meter, spool, watch.now))
        listener = listen(config.host, config.port)
        server = Server(_uvicorn(gateway))
        await _until(stop, server, listener, meter, reporter, watch, config, ready)


async def _until(
    stop: asyncio.Event,
    server: "Server",
    listener: socket.socket,
    meter: NodeMeter,
    reporter: Reporter,
    watch: "_Watch",
    config: NodeConfig,
    ready: Callable[[int], None],
) -> None:
    """Everything that runs, until `stop` or until one part fails; then requests end, and what was used is sealed."""
    background = [
        asyncio.create_task(_readings(meter, reporter, config.interval_ms / 1_000)),
        asyncio.create_task(reporter.run(stop)),
        asyncio.create_task(watch.run()),
    ]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopped = asyncio.create_task(stop.wait())
    try:
        await server.up.wait()
        ready(listener.getsockname()[1])
        await asyncio.wait((serving, stopped, *background), return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        await asyncio.wait((serving,))
        stop.set()
        for task in (stopped, *background):
            task.cancel()
        results = await asyncio.gather(serving, *background, return_exceptions=True)
        meter.seal_all()
        with suppress(ServiceUnreachable, TimeoutError):  # the spool has it
            async with asyncio.timeout(LAST_REPORT_S):
                await reporter.send()
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _readings(meter: NodeMeter, reporter: Reporter, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        if meter.tick():
            reporter.wake()


class _Watch:
    """The latest telemetry. Asked for in a thread: a driver may take its time."""

    def __init__(self) -> None:
        self.now = telemetry.read()

    async def run(self) -> None:
        if self.now.absent:
            log.info("no GPU telemetry: %s; GPU time is allocation time only", self.now.absent)
        while True:
            await asyncio.sleep(TELEMETRY_S)
            self.now = await asyncio.to_thread(telemetry.read)


class Server(uvicorn.Server):
    """Without signal handlers of its own: the node ends in its own order. `up` is set once it takes requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _gateway(
    config: NodeConfig,
    issuer: httpx.AsyncClient,
    upstream: httpx.AsyncBaseTransport,
    meter: NodeMeter,
    reporter: Reporter,
    status: Callable[[], dict[str, object]],
) -> Gateway:
    def clock_s() -> int:
        return int(time.time())

    nonces = NonceKeys(secrets.token_bytes(32))
    authorizer = Authorizer(
        keys=IssuerKeys(issuer, config.issuer, clock_s),
        audience=config.audience,
        asset=config.asset_id,
        chain_id=config.chain_id,
        nonces=nonces,
        clock_s=clock_s,
    )
    return Gateway(
        public=Public(config.audience, config.issuer),
        upstream=config.upstream,
        transport=upstream,
        authorizer=authorizer,
        meter=meter,
        nonces=nonces,
        clock_s=clock_s,
        wait_s=config.wait_s,
        status=status,
        sealed=reporter.wake,
    )


def _status(config: NodeConfig, meter: NodeMeter, spool: Spool, now: Telemetry) -> dict[str, object]:
    return {
        "asset": config.asset,
        "chain_id": config.chain_id,
        "level": config.level,
        "policy": config.policy,
        "gpus": config.gpus,
        "boot": meter.boot,
        "segments_unsent": len(spool.unsent),
        "segments_unproven": len(spool.unproven),
        "segments_refused": len(spool.refused),
        "telemetry": now.to_json(),
    }


def _uvicorn(app: Gateway) -> uvicorn.Config:
    # An answer without its end is how a spent budget ends a stream; it is no error.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "without completing" not in record.getMessage())
    return uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACEFUL_S,
    )
