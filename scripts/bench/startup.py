"""Start to ready, and memory at rest. Targets: 150 ms empty, 1 s with a million entities, at most 80 MB idle."""

import argparse
import pathlib
import signal
import tempfile
import time

from harness import Larder, Report, built, middle, spread, status
from users import DEFINITIONS, online_body, write_parquet


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench/run startup", description=__doc__)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plots", type=pathlib.Path)
    args = parser.parse_args()
    program = built()["larder"]
    report = Report("Start and memory at rest")
    rows = []
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as directory:
        directory = pathlib.Path(directory)

        def measure(name, data, how):
            ready, idle = [], []
            for round in range(args.rounds):
                node = Larder(program, directory / (data or f"empty{round}"))
                ready.append(node.ready)
                time.sleep(2)
                idle.append(status(node.pid, "VmRSS"))
                node.stop(how)
            rows.append([name, spread([it * 1000 for it in ready]), spread(idle)])
            report.bar("ms to be ready", f"larder, {name}", middle(ready) * 1000)
            report.bar("MiB at rest", f"larder, {name}", middle(idle))

        measure("new", None, signal.SIGTERM)
        write_parquet(directory / "users.parquet", args.entities)
        with Larder(program, directory / "full") as node:
            node.apply(DEFINITIONS)
            node.ingest(directory / "users.parquet", "--view", "users")
            node.post("/v1/online-features", online_body([1]))
        measure(f"{args.entities:,} entities, after a clean stop", "full", signal.SIGTERM)
    report.text(f"{args.rounds} starts each; a start is answered with 200 by `/readyz`, memory is read two seconds later.")
    report.table(["", "ms to be ready: median (least to greatest)", "resident MiB"], rows)
    report.finish(args.plots)


if __name__ == "__main__":
    main()
