"""Two binaries of larder, in turn (A B A B): is a change as fast as what it replaces?

Each has a node and a data directory of its own with the same rows. Measured: online reads of 1 and 100 entities x 10 features,
JSON and Arrow batches of 1,000 synced rows, single rows, a Parquet file through `larder ingest`, a training set through
`larder training-set`. Answers of the two are compared. Prints the ratio new / base of each (more is better) and the peaks of
memory; --least 0.97 makes the exit code say whether every ratio is at least that.

    scripts/bench/run compare --base OLD_BINARY [--new NEW_BINARY]"""

import argparse
import collections
import contextlib
import datetime
import pathlib
import sys
import tempfile
import time

import harness
from harness import Bodies, Larder, Report, built, in_turn, middle, missing, spread, status, wrk
from users import BASE, DEFINITIONS, FEATURES, online_body, some_users, value, write_parquet

READ = "/v1/online-features"
WRITE = "/v1/feature-views/users/rows"
ARROW = "application/vnd.apache.arrow.stream"


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench/run compare", description=__doc__)
    parser.add_argument("--base", required=True, help="the binary to compare with")
    parser.add_argument("--new", help="the binary to judge; without it this checkout is built")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=500_000, help="of a Parquet file")
    parser.add_argument("--labels", type=int, default=300_000, help="of the training set's spine")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run of load")
    parser.add_argument("--only", default="", help="measure only what has this in its name")
    parser.add_argument("--least", type=float, default=0.0, help="ratio below which the exit code is 1")
    args = parser.parse_args()
    if problem := missing("wrk", "wrk"):
        sys.exit(problem)
    programs = {"base": args.base, "new": args.new or built()["larder"]}
    report, ratios = Report("Two binaries"), []
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as directory, contextlib.ExitStack() as stack:
        directory = pathlib.Path(directory)
        data, spine = directory / "users.parquet", directory / "spine.parquet"
        write_parquet(data, args.users)
        files = [directory / f"file-{round}.parquet" for round in range(args.rounds)]
        for round, file in enumerate(files):
            write_parquet(file, args.rows, first=args.users + round)
        write_spine(spine, args.labels, args.users)
        nodes = {}
        for name, program in programs.items():
            nodes[name] = stack.enter_context(Larder(program, directory / name))
            nodes[name].apply(DEFINITIONS)
            nodes[name].ingest(data, "--view", "users")
        rows = []
        for what, run in kinds(args, directory, files, spine).items():
            if args.only not in what:
                continue
            results = in_turn(args.rounds, {name: (lambda node=node: run(node)) for name, node in nodes.items()})
            ratio = middle(results["new"]) / middle(results["base"])
            ratios.append(ratio)
            rows.append([what, spread(results["base"]), spread(results["new"]), f"{ratio:.3f}"])
        peaks = {name: status(node.pid, "VmHWM") for name, node in nodes.items()}
    report.table(["a second: median (least to greatest)", "base", "new", "new / base"], rows)
    report.text(f"Greatest resident set: base {peaks['base']:,.0f} MiB, new {peaks['new']:,.0f} MiB ({peaks['new'] / peaks['base']:.2f}).")
    report.finish(None)
    sys.exit(min(ratios) < args.least)


def kinds(args, directory, files, spine):
    """Name of each measurement to a function of a node that gives a rate."""
    one = Bodies([online_body(users) for users in some_users(args.users, 1)])
    hundred = Bodies([online_body(users) for users in some_users(args.users, 100)])
    columns = Bodies([online_body(users) for users in some_users(args.users, 100)], accept=ARROW)
    batches = [batch(number, 1000, args.users) for number in range(100)]
    as_json = Bodies([{"rows": rows} for rows in batches])
    as_arrow = Bodies([arrow(rows) for rows in batches], content_type=ARROW)
    singles = Bodies([{"rows": batch(number, 1, args.users)} for number in range(400)])
    # Another file each time: a binary may skip one that it has.
    files_of = collections.defaultdict(lambda: iter(files))
    load = lambda path, bodies, connections: lambda node: wrk(node.port, path, bodies, connections, args.seconds)
    return {
        "reads, 1 x 10": load(READ, one, 32),
        "reads, 100 x 10": load(READ, hundred, 32),
        "reads, 100 x 10, Arrow": load(READ, columns, 32),
        "training-set rows": lambda node: train(args, node, spine, directory),
        "JSON batches": load(WRITE, as_json, 4),
        "Arrow batches": load(WRITE, as_arrow, 4),
        "single rows": load(WRITE, singles, 64),
        "rows of a Parquet file": lambda node: args.rows / node.ingest(next(files_of[node.port]), "--view", "users"),
    }


def train(args, node, spine, directory):
    """Rows a second; both nodes have to give the same bytes."""
    out = directory / f"{node.port}.parquet"
    started = time.perf_counter()
    node.run("training-set", "--spine", spine, "--features", "users", "--out", out)
    seconds = time.perf_counter() - started
    first = directory / "first.parquet"
    if not first.exists():
        first.write_bytes(out.read_bytes())
    elif rows(first) != rows(out):
        sys.exit("the two binaries give different training sets")
    return args.labels / seconds


def rows(path):
    import pyarrow.parquet as pq

    return pq.read_table(path)


def write_spine(path, labels, users):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = np.random.default_rng(7)
    times = pa.array(BASE + source.integers(0, 10**6, labels)).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"user_id": source.integers(0, users, labels), "event_time": times}), path)


def batch(number, rows, users):
    """Rows whose event time is later than that of all batches before, in a form that every version takes."""
    at = datetime.datetime.fromtimestamp((BASE + 10**9 + number) / 1e6, datetime.UTC).isoformat(timespec="microseconds")
    ids = [(number * rows + i) % users for i in range(rows)]
    return [{"user_id": user, "event_time": at} | {n: value(user, k) for k, n in enumerate(FEATURES)} for user in ids]


def arrow(rows):
    import pyarrow as pa

    table = pa.Table.from_pylist(rows)
    times = pa.array([datetime.datetime.fromisoformat(it) for it in table["event_time"].to_pylist()], pa.timestamp("us", tz="UTC"))
    table = table.set_column(table.column_names.index("event_time"), "event_time", times)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


if __name__ == "__main__":
    main()
