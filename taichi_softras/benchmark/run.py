"""From a case to its results."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from taichi_softras import runtime
from taichi_softras.benchmark import contenders, measure, pairs, parity, roofline
from taichi_softras.benchmark.cases import Case


@dataclass(frozen=True, kw_only=True)
class Result:
    """One case, measured."""

    case: Case
    parity: float
    """Error as a share of the allowed one."""
    times: dict[str, measure.Times]
    """Seconds of forward and backward, by contender."""
    skipped: dict[str, str]
    """Why others did not take part."""
    profile: pairs.Profile
    peak_memory: int | None
    """Bytes above what the process held before."""
    threads: int

    def ns_per_pair(self, stage: str) -> float | None:
        """Core nanoseconds for each visited pair in "forward" or "adjoint"."""
        work = self.profile.work
        if work is None or work.pairs == 0:
            return None
        return self.profile.stages[stage] * self.threads / work.pairs * 1e9

    def ratio(self, name: str) -> float | None:
        """Our median over a peer's: below 1 is faster."""
        if name not in self.times:
            return None
        return self.times["taichi_softras"].median / self.times[name].median

    def reached(self, peaks: roofline.Peaks) -> dict[str, float] | None:
        """Share of the machine's peaks that forward and adjoint reach together."""
        work, stages = self.profile.work, self.profile.stages
        if work is None:
            return None
        color = self.case.color
        flops = sum(roofline.FLOPS[color, stage] for stage in ("forward", "adjoint"))
        seconds = stages["forward"] + stages["adjoint"]
        moved = roofline.BYTES_PER_ENTRY[color] * work.entries
        return {
            "flops": flops * work.pairs / seconds / peaks.flops,
            "bandwidth": moved / seconds / peaks.bandwidth,
        }

    def as_json(self, peaks: roofline.Peaks) -> dict[str, Any]:
        """Everything, in plain types."""
        work = self.profile.work
        return {
            "case": {**asdict(self.case), "faces": self.case.faces, "name": self.case.name},
            "parity": self.parity,
            "seconds": {name: times._asdict() for name, times in self.times.items()},
            "skipped": self.skipped,
            "stage_seconds": self.profile.stages,
            "alone_seconds": self.profile.alone,
            "work": None if work is None else work._asdict(),
            "core_ns_per_pair": {s: self.ns_per_pair(s) for s in ("forward", "adjoint")},
            "peak_bytes": self.peak_memory,
            "threads": self.threads,
            "share_of_peak": self.reached(peaks),
        }


def run(cases: Iterable[Case], peers: Sequence[str], seconds: float) -> Iterable[Result]:
    """Measure cases one after the other: parity, memory, stages, times.

    Raises:
        ParityError: What would be timed is wrong.
    """
    for case in cases:
        share = parity.check(case)
        before = measure.resident_memory()
        measure.reset_peak_memory()
        step = contenders.ours(case)
        step()
        peak = measure.resident_memory(peak=True)
        profile = pairs.profile(step, seconds=0.5 * seconds)
        rivals = contenders.contenders(case, peers)
        yield Result(
            case=case,
            parity=share,
            times=measure.interleaved(rivals, seconds),
            skipped={c.name: c.reason for c in rivals if c.step is None},
            profile=profile,
            peak_memory=None if peak is None or before is None else max(peak - before, 0),
            threads=runtime.thread_count(),
        )
