"""`python -m tests.bench.gateway`: start the contestants, measure, print, end them. See docs/gateway-benchmark.md."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

from tests.bench.gateway import contestants, ours, peers, rounds, streams, whole
from tests.bench.gateway.contestants import Contestant
from tests.bench.gateway.machine import Cores, NotMeasured
from tests.bench.gateway.report import MIB, Report


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the first table; 0 leaves it out")
    parser.add_argument("--seconds", type=int, default=4, help="length of one requests/s measurement")
    parser.add_argument(
        "--peers", nargs="*", choices=sorted(peers.ALL), metavar="NAME", help=f"of {', '.join(peers.ALL)}; all if none"
    )
    parser.add_argument("--free", action="store_true", help="measure ours with a key without team and limits as well")
    parser.add_argument("--streams", type=int, default=0, help="hold so many paced streams, and twice on two processes")
    parser.add_argument("--streams-seconds", type=float, default=30.0, help="for how long")
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS", help="mixed load on ours, memory watched")
    parser.add_argument("--soak-growth", type=float, default=8.0, metavar="MIB", help="more after the warm-up: exit 1")
    parser.add_argument("--against", type=Path, help="another checkout whose gateway is measured in turns with ours")
    parser.add_argument("--without-nginx", action="store_true", help="leave nginx out")
    parser.add_argument("--out", type=Path, help="write everything measured there as JSON")
    return parser.parse_args(words)


def say(text: str) -> None:
    """Progress goes to standard error, results to standard output."""
    print(text, file=sys.stderr, flush=True)


class Bench:
    """One run. `stack` ends what was started."""

    def __init__(self, wanted: argparse.Namespace, stack: ExitStack) -> None:
        self.wanted = wanted
        self.stack = stack
        self.report = Report(whole.wrk_version() if wanted.rounds else "without wrk")
        self.cores, self.pair = Cores.found(), Cores.found(2)
        self.place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="srdz-bench-")))
        self.place.chmod(0o755)
        os.sched_setaffinity(0, self.cores.load)  # what we start and do not pin elsewhere stays there as well

    def run(self) -> Report:
        """Everything that was asked for."""
        direct = self.enter(contestants.engine(self.cores, self.place))
        if not self.wanted.without_nginx:
            self.try_to_enter("nginx", contestants.nginx(direct.port, self.cores, self.place))
        installation = self.stack.enter_context(ours.installation(direct.port, self.place))
        gateway = self.enter(contestants.gateway(installation, self.cores))
        if self.wanted.against:
            tree = self.wanted.against.resolve()
            self.enter(contestants.gateway(installation, self.cores, name=contestants.THERE, tree=tree))
        if self.wanted.free:
            free = replace(gateway, name=f"{gateway.name}, key without limits", key=installation.keys["free"])
            self.report.contestants.append(free)
        for slug in self.wanted.peers or (peers.ALL if self.wanted.peers is not None else ()):
            say(f"starting {slug}")
            self.try_to_enter(slug, peers.peer(peers.ALL[slug], direct.port, self.cores, self.place))
        self.first_table()
        if self.wanted.streams:
            self.hold(installation)
        if self.wanted.soak:
            say(f"soaking for {self.wanted.soak:.0f} s")
            self.report.soak = streams.soak(gateway, seconds=self.wanted.soak)
        return self.report

    def enter(self, made: AbstractContextManager[Contestant]) -> Contestant:
        """Start one that has to be there."""
        contestant = self.stack.enter_context(made)
        say(f"{contestant.name} {contestant.version} on port {contestant.port}")
        self.report.contestants.append(contestant)
        return contestant

    def try_to_enter(self, name: str, made: AbstractContextManager[Contestant]) -> None:
        """Start one that may be missing, and say so then."""
        try:
            self.enter(made)
        except NotMeasured as problem:
            say(f"{name} is not measured: {problem}")
            self.report.not_measured[name] = str(problem)

    def first_table(self) -> None:
        wanted = self.wanted
        self.report.samples += rounds.run(
            self.report.contestants, rounds=wanted.rounds, seconds=wanted.seconds, place=self.place, say=say
        )

    def hold(self, installation: ours.Installation) -> None:
        """Many open streams: each contestant, then twice as many on two processes of ours."""
        wanted = self.wanted
        for contestant in self.report.contestants:
            say(f"{wanted.streams} streams on {contestant.name}")
            found = streams.hold(contestant, wanted.streams, seconds=wanted.streams_seconds)
            self.report.opens.append(found)
        say(f"{2 * wanted.streams} streams on two processes, cores {self.pair.gateway}, load on {self.pair.load}")
        os.sched_setaffinity(0, self.pair.load)
        with contestants.gateway(installation, self.pair, processes=2) as both:
            found = streams.hold(both, 2 * wanted.streams, seconds=wanted.streams_seconds)
            self.report.opens.append(found)
        os.sched_setaffinity(0, self.cores.load)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(words: Sequence[str] | None = None) -> int:
    """0; 1 when ours failed a request or its memory grew; 2 when it could not be measured at all."""
    wanted = parsed(words)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            report = Bench(wanted, stack).run()
    except NotMeasured as problem:
        say(f"not measured: {problem}")
        return 2
    print(report.markdown())
    if wanted.out:
        report.save(wanted.out)
    grew = report.soak is not None and report.soak.growth_bytes > wanted.soak_growth * MIB
    return int(report.failures > 0 or grew)


if __name__ == "__main__":
    sys.exit(main())
