"""Ingest: rows over HTTP into both stores, each batch synced; beside raw fjall with an outbox blob, and Feast.

Targets: batches of 1,000 x 10 features as JSON at 15 x Feast's push and 0.4 of raw fjall, as Arrow at 0.8 of it; single rows
from 64 connections at 20,000/s; a Parquet file into both stores at 40 x Feast's materialize."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import harness
from harness import Bodies, Larder, Report, built, in_turn, middle, missing, say, spread, status, wrk
from users import BASE, DEFINITIONS, FEATURES, Feast, online_body, value, write_parquet

PATH = "/v1/feature-views/users/rows?time_unit=us"
ARROW = "application/vnd.apache.arrow.stream"


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench/run ingest", description=__doc__)
    parser.add_argument("--users", type=int, default=100_000, help="different keys of the batches")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the Parquet file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6, help="of each run of load")
    parser.add_argument("--feast", help="a Python that has feast[redis]")
    parser.add_argument("--feast-rows", type=int, default=50_000, help="that Feast materializes")
    parser.add_argument("--plots", type=pathlib.Path)
    args = parser.parse_args()
    if problem := missing("wrk", "wrk"):
        sys.exit(problem)
    programs = built("floors")
    report = Report("Ingest")
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as directory:
        directory = pathlib.Path(directory)
        batches(args, report, programs, directory)
        file(args, report, programs, directory)
    report.finish(args.plots)


def batch(number, rows, users):
    """Each batch has a later event time, so that all of it is written to the online store."""
    ids = [(number * rows + i) % users for i in range(rows)]
    return [{"user_id": user, "event_time": BASE + 10**9 + number} | {n: value(user, k) for k, n in enumerate(FEATURES)} for user in ids]


def arrow(rows):
    import pyarrow as pa

    table = pa.Table.from_pylist(rows)
    times = table["event_time"].cast(pa.timestamp("us", tz="UTC"))
    table = table.set_column(table.column_names.index("event_time"), "event_time", times)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def batches(args, report, programs, directory):
    thousand = [batch(number, 1000, args.users) for number in range(100)]
    json_bodies = Bodies([{"rows": rows} for rows in thousand])
    arrow_bodies = Bodies([arrow(rows) for rows in thousand], content_type=ARROW)
    singles = Bodies([{"rows": batch(number, 1, args.users)} for number in range(400)])
    notes = []
    with Larder(programs["larder"], directory / "node") as node:
        node.apply(DEFINITIONS)
        load = lambda bodies, connections: lambda: wrk(node.port, PATH, bodies, connections, args.seconds)
        count = [0]

        def fjall():
            count[0] += 1
            command = [programs["floors"], "fjall", str(directory / f"fjall{count[0]}"), str(args.seconds * 300)]
            figures = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            return {"per_s": figures["rows_s"] / 1000}

        runs = {
            "larder, JSON": load(json_bodies, 4),
            "larder, Arrow": load(arrow_bodies, 4),
            "raw fjall, rows and a blob": fjall,
        }
        processes = []
        if problem := missing("redis-server", "redis-server"):
            notes.append(f"Feast: {problem}.")
        elif args.feast and pathlib.Path(args.feast).exists():
            data = directory / "feast.parquet"
            write_parquet(data, args.feast_rows)
            store = harness.redis(directory)
            processes.append(store)
            feast = Feast(args.feast, directory, store.port, data)
            server = feast.serve()
            processes.append(server)
            columns = [
                {"push_source_name": "users_push", "to": "online", "df": feast_columns(rows)} for rows in thousand[:20]
            ]
            pushes = Bodies(columns)
            runs["Feast push, online store only"] = lambda: wrk(server.port, "/push", pushes, 4, args.seconds, forgiving=True)
        else:
            notes.append("Feast: not measured (`--feast PYTHON`, of a virtual environment with `feast[redis]`).")
        try:
            results = in_turn(args.rounds, runs)
            alone = in_turn(args.rounds, {"single rows": load(singles, 64)})["single rows"]
        finally:
            for process in processes:
                process.stop()
        check(node, args.users)
        peak = status(node.pid, "VmHWM")
    for runs in results.values():
        for run in runs:
            run["per_s"] *= 1000
    fjall_rows = middle(results["raw fjall, rows and a blob"])
    report.text(
        f"Batches of 1,000 rows x 10 features, {args.users:,} keys, 4 connections, {args.seconds} s a run, {args.rounds} rounds in turn; every batch is "
        "on disk before it is acknowledged. Load and servers share the cores.",
    )
    rows = []
    for name, runs in results.items():
        best = middle(results["larder, Arrow"]) / middle(runs)
        rows.append([name, spread(runs), f"{middle(runs) / fjall_rows:.2f}", f"{best:.1f}"])
        report.bar("rows/s, batches of 1,000", name, middle(runs))
    report.table(["", "rows/s: median (least to greatest)", "this / raw fjall", "larder, Arrow / this"], rows)
    report.text(
        f"Single rows from 64 connections: {spread(alone)} rows/s, p50 {middle(alone, 'p50_ms'):.1f} ms, p99 {middle(alone, 'p99_ms'):.1f} ms. "
        f"The node's greatest resident set over all of this: {peak:,.0f} MiB."
    )
    report.text(*notes)


def feast_columns(rows):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    micros = columns.pop("event_time")
    stamps = [time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(it / 1e6)) + f".{it % 1_000_000:06}Z" for it in micros]
    return columns | {"event_time": stamps}


def check(node, users):
    asked = list(range(0, users, users // 50))
    got = node.post("/v1/online-features", online_body(asked))["values"]
    if got != [[value(user, k) for k in range(len(FEATURES))] for user in asked]:
        sys.exit("larder does not serve what was written")


def file(args, report, programs, directory):
    data = directory / "backfill.parquet"
    write_parquet(data, args.rows)
    with Larder(programs["larder"], directory / "backfill") as node:
        node.apply(DEFINITIONS)
        seconds = node.ingest(data, "--view", "users")
        check(node, args.rows)
        peak = status(node.pid, "VmHWM")
    ours = args.rows / seconds
    lines = [["larder ingest, both stores", f"{args.rows:,}", f"{seconds:.1f}", f"{ours:,.0f}", "1.0"]]
    report.bar("rows/s, a Parquet file", "larder ingest", ours)
    if args.feast and pathlib.Path(args.feast).exists() and not missing("redis-server", "redis-server"):
        small = directory / "small.parquet"
        write_parquet(small, args.feast_rows)
        with harness.redis(directory) as store:
            feast = Feast(args.feast, directory / "second", store.port, small)
            took = feast.step("materialize")["seconds"]
        theirs = args.feast_rows / took
        lines.append(["Feast materialize, Redis only", f"{args.feast_rows:,}", f"{took:.1f}", f"{theirs:,.0f}", f"{ours / theirs:.1f}"])
        report.bar("rows/s, a Parquet file", "Feast materialize", theirs)
    report.text(f"A Parquet file of 10 features (the node's greatest resident set: {peak:,.0f} MiB):")
    report.table(["", "rows", "seconds", "rows/s", "larder / this"], lines)


if __name__ == "__main__":
    main()
