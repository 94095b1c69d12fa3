"""The README's first command on a fresh clone, from an empty target directory: how long until the demo has run, and what takes it.
Target: 15 minutes on two cores. Takes half an hour and more; cargo's registry is used as it is, so what it lacks is downloaded."""

import argparse
import json
import os
import pathlib
import re
import resource
import subprocess
import tempfile
import time

from harness import ROOT, Report

GROUPS = {
    "DataFusion, its parser": ("datafusion", "sqlparser"),
    "arrow and parquet": ("arrow", "parquet"),
    "Delta's kernel, object stores": ("delta_kernel", "object_store"),
    "fjall and foyer": ("fjall", "lsm-tree", "foyer"),
    "allocator, compression (C)": ("tikv-jemalloc", "zstd", "lz4"),
    "larder": ("larder",),
}


def units(timings):
    """What cargo's own report says of each compilation: name, start, duration, sections; seconds. What was there takes none."""
    found = re.search(r"const UNIT_DATA = (\[.*?\]);\n", timings.read_text(), re.DOTALL)
    return [unit for unit in json.loads(found.group(1)) if unit["duration"] > 0]


def group_of(unit):
    return next((group for group, names in GROUPS.items() if unit["name"].startswith(names)), "all else")


def front(unit):
    """Seconds before LLVM's turn, where cargo tells them."""
    ends = [section["end"] for name, section in unit["sections"] or [] if name == "frontend"]
    return f"{ends[0]:,.0f}" if ends else ""


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench/run build", description=__doc__)
    parser.add_argument("--target", type=pathlib.Path, help="a target directory to build in, instead of an empty one")
    parser.add_argument("--plots", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as directory:
        directory = pathlib.Path(directory)
        target = args.target or directory / "target"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(directory / "larder")], check=True)
        started = time.monotonic()
        command = ["cargo", "run", "--release", "--locked", "--timings", "--", "demo"]
        environment = {**os.environ, "CARGO_TARGET_DIR": str(target.absolute())}
        subprocess.run(command, cwd=directory / "larder", env=environment, stdout=subprocess.DEVNULL, check=True)
        wall = time.monotonic() - started
        compiled = units(target / "cargo-timings" / "cargo-timing.html")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    turn = min((unit["start"] for unit in compiled if unit["name"] == "larder"), default=0)
    end = max((unit["start"] + unit["duration"] for unit in compiled), default=0)

    report = Report("A build with what is in a target directory" if args.target else "A build from an empty target directory")
    minutes = [("dependencies, until larder's turn", turn), ("larder", end - turn), ("downloads, demo", wall - end), ("all", wall)]
    report.table(["", "minutes"], [[name, f"{seconds / 60:.1f}"] for name, seconds in minutes])
    report.text(f"{(used.ru_utime + used.ru_stime) / 60:.1f} minutes of CPU, {len(compiled)} compilations.")
    sums = {}
    for unit in compiled:
        sums[group_of(unit)] = sums.get(group_of(unit), 0) + unit["duration"]
    report.text("Seconds from the beginning to the end of each compilation, summed; one with a core for itself takes as much CPU:")
    report.table(["", "seconds"], [[group, f"{sums[group]:,.0f}"] for group in sorted(sums, key=sums.get, reverse=True)])
    longest = sorted(compiled, key=lambda unit: -unit["duration"])[:15]
    rows = [[unit["name"] + unit["target"], f"{unit['duration']:,.0f}", front(unit)] for unit in longest]
    report.table(["longest", "seconds", "of these before LLVM"], rows)
    for name, seconds in minutes:
        report.bar("minutes", name, seconds / 60, f"{seconds / 60:.1f}")
    report.finish(args.plots)


if __name__ == "__main__":
    main()
