"""The node's meter: who used the GPUs for how long, as signed segments and receipts.

In: the begin and end of requests, and a tick each interval. Out: readings and segments in the spool, receipts when
asked. One lease has the GPUs at a time, so the segments of a node never overlap and a GPU-second is never sold twice;
the gateway makes the others wait. Single-threaded: called from one event loop.
"""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from commonhold.agent.busy import BusyTime
from commonhold.agent.clock import NodeClock
from commonhold.agent.spool import LeaseState, Spool
from commonhold.meter.segment import Reading, Signature, SignedSegment, seal
from commonhold.p256 import sign_es256
from commonhold.signing import ZERO32, Domain, Receipt, preimage
from commonhold.units import AssetId, GpuMs, Hash32

MAX_READINGS = 60  # of a segment: at one reading a second, a minute under one signature
MAX_SEGMENT_MS = 60_000


@dataclass(frozen=True, slots=True)
class NodeReceipt:
    """A receipt that still lacks the session key's signature."""

    receipt: Receipt
    node_signature: Signature


@dataclass(slots=True)
class LeaseMeter:
    """One lease at this node. `readings` are those since `head`; `started_at_ms` is where the next segment starts, None
    while nothing happened that it would tell."""

    busy: BusyTime
    head: Hash32 = ZERO32
    read_gpu_ms: int = 0  # total of the last reading
    started_at_ms: int | None = None
    readings: list[Reading] = field(default_factory=list)


class NodeMeter:
    """All leases of one node in one boot. Readings that a crash left unsealed are sealed when it is made."""

    def __init__(
        self,
        *,
        domain: Domain,
        key: ec.EllipticCurvePrivateKey,
        asset: AssetId,
        gpus: int,
        spool: Spool,
        clock: NodeClock,
        max_readings: int = MAX_READINGS,
        max_segment_ms: int = MAX_SEGMENT_MS,
    ) -> None:
        """domain: of the contract Meter. Raises ValueError when the clock's boot is not after the last stamp."""
        self._domain, self._key, self._asset, self._gpus = domain, key, asset, gpus
        self._spool, self._clock = spool, clock
        self._max_readings, self._max_segment_ms = max_readings, max_segment_ms
        for lease, state in list(spool.leases.items()):
            if state.unsealed:
                self._seal_left(lease, state)
        spool.add_boot(clock.boot_ms)
        self._leases = {lease: self._resumed(state) for lease, state in spool.leases.items()}
        self._current: Hash32 | None = None

    @property
    def boot(self) -> int:
        """The boot epoch of its segments, Unix ms."""
        return self._clock.boot_ms

    @property
    def gpus(self) -> int:
        """GPUs allotted to whoever has the node."""
        return self._gpus

    def begin(self, lease: Hash32, limit_gpu_ms: int) -> None:
        """A request of `lease` has the GPUs from now on; its token allows `limit_gpu_ms` in total.

        Raises ValueError while a request of another lease is in flight.
        """
        now_ms = self._clock.now_ms()
        if self._current not in (None, lease):
            if self._leases[self._current].busy.in_flight:
                raise ValueError("another lease has the GPUs")
            self.seal(self._current)  # so that its segment ends before the next one's starts
        self._current = lease
        meter = self._leases.setdefault(lease, self._resumed(LeaseState()))
        meter.busy.raise_limit(limit_gpu_ms, now_ms)
        meter.busy.begin(now_ms)
        if meter.started_at_ms is None:
            meter.started_at_ms = now_ms

    def end(self, lease: Hash32) -> None:
        """That request is over."""
        meter = self._leases[lease]
        meter.busy.end(self._clock.now_ms())
        if (
            not meter.busy.in_flight
            and not meter.readings
            and meter.busy.gpu_ms(meter.busy.as_of_ms) == meter.read_gpu_ms
        ):
            meter.started_at_ms = None  # shorter than a millisecond: nothing to tell

    def used_ms(self, lease: Hash32) -> GpuMs:
        """Cumulative GPU-ms of `lease` now."""
        meter = self._leases.get(lease)
        return meter.busy.gpu_ms(self._clock.now_ms()) if meter else GpuMs(0)

    def left_ms(self, lease: Hash32) -> int:
        """Wall-clock ms until the highest limit that a token of `lease` brought is reached."""
        meter = self._leases.get(lease)
        return meter.busy.left_ms(self._clock.now_ms()) if meter else 0

    def tick(self) -> bool:
        """Takes a reading of the lease that has the GPUs, and seals its segment when it is full or old enough. To be
        called each interval; what a crash loses is less than one. True when a segment was sealed."""
        if self._current is None:
            return False
        meter = self._leases[self._current]
        self._read(self._current, meter)
        if not meter.readings or meter.started_at_ms is None:
            return False
        old = self._clock.now_ms() - meter.started_at_ms >= self._max_segment_ms
        return (old or len(meter.readings) >= self._max_readings) and self.seal(self._current) is not None

    def seal(self, lease: Hash32) -> SignedSegment | None:
        """The segment of all time of `lease` that no segment has yet, in the spool; None when there is none."""
        meter = self._leases.get(lease)
        if meter is None:
            return None
        reading = self._due(meter)
        readings = [*meter.readings, *((reading,) if reading else ())]
        if not readings or meter.started_at_ms is None:
            return None
        signed = self._signed(self.boot, lease, meter.head, meter.started_at_ms, readings)
        self._spool.add_segment(signed)
        meter.head, meter.read_gpu_ms, meter.readings = signed.segment.head, signed.segment.gpu_ms, []
        meter.started_at_ms = signed.segment.ended_at_ms if meter.busy.in_flight else None
        return signed

    def seal_all(self) -> int:
        """Seals every lease's time; how many segments that made."""
        return sum(self.seal(lease) is not None for lease in list(self._leases))

    def receipt(self, lease: Hash32) -> NodeReceipt:
        """The receipt of all time of `lease` so far; its segments are in the spool. For a lease that was never used:
        zero GPU-ms, and zero for a head."""
        self.seal(lease)
        meter = self._leases.get(lease)
        receipt = Receipt(lease, meter.read_gpu_ms, meter.head) if meter else Receipt(lease, 0, ZERO32)
        return NodeReceipt(receipt, Signature(sign_es256(self._key, preimage(self._domain, receipt))))

    def _due(self, meter: LeaseMeter) -> Reading | None:
        """A reading of now; None when the total is what the last reading said."""
        gpu_ms = meter.busy.gpu_ms(self._clock.now_ms())
        return Reading(meter.busy.as_of_ms, gpu_ms) if gpu_ms > meter.read_gpu_ms else None

    def _read(self, lease: Hash32, meter: LeaseMeter) -> None:
        reading = self._due(meter)
        if reading is None or meter.started_at_ms is None:
            return
        self._spool.add_reading(self.boot, lease, meter.started_at_ms, reading)
        meter.read_gpu_ms = reading.gpu_ms
        meter.readings = [*meter.readings, reading]

    def _seal_left(self, lease: Hash32, state: LeaseState) -> None:
        # Under the boot that took the readings: their times lie in it, and its sequence goes on without a gap.
        readings = list(state.unsealed)
        self._spool.add_segment(self._signed(state.boot, lease, state.head, state.started_at_ms, readings))

    def _signed(
        self, boot: int, lease: Hash32, previous: Hash32, started_at_ms: int, readings: list[Reading]
    ) -> SignedSegment:
        return seal(
            self._domain,
            self._key,
            asset=self._asset,
            boot=boot,
            sequence=self._spool.next_sequence(boot),
            lease=lease,
            previous=previous,
            started_at_ms=started_at_ms,
            readings=readings,
        )

    def _resumed(self, state: LeaseState) -> LeaseMeter:
        # The limit is what was used until a token brings a higher one.
        busy = BusyTime(self._gpus, gpu_ms=state.gpu_ms, limit_gpu_ms=state.gpu_ms)
        return LeaseMeter(busy, state.head, state.gpu_ms)
