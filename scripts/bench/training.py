"""Point-in-time joins: larder, polars and duckdb on the same rows, each run a process of its own, answers compared.

For each row of the spine and each view: the row of the same entity with the greatest (event time, time of acceptance) not after
the spine's time; null where it is older than the ttl. Seconds go from open files to the answer in memory, the peak is the
process's greatest resident set. Targets: 0.35 of the better peer's seconds and 0.4 of its memory; 50 million rows: 0.6, and
1.2 GB."""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

from harness import Report, built, in_turn, middle, say, spread

COLUMNS = [f"f{i}" for i in range(10)] + ["i0", "i1", "s0"]
DAY = 86_400_000_000
START = 1_767_225_600_000_000


def generate(directory, rows, spine, views, days=30, seed=42):
    """Rows in order of time, a file a day; every 50th repeats entity and event time of the one before it, accepted later."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    micros = pa.timestamp("us", tz="UTC")
    words = pa.array([f"cat_{i:04d}" for i in range(1000)])
    entities = max(1, rows // 100)
    for view in range(views):
        rng = np.random.default_rng([seed, view])
        (directory / f"raw{view}").mkdir(parents=True)
        for day in range(days):
            n = rows * (day + 1) // days - rows * day // days
            at = START + day * DAY + np.sort(rng.integers(0, DAY, n))
            entity = rng.integers(0, entities, n)
            repeats = np.arange(1, n, 50)
            at[repeats], entity[repeats] = at[repeats - 1], entity[repeats - 1]
            accepted = START + day * DAY + np.arange(n)
            columns = {"entity_id": entity, "event_time": pa.array(at).cast(micros), "_accepted_at": pa.array(accepted).cast(micros)}
            for i in range(10):
                values = rng.standard_normal(n)
                columns[f"f{i}"] = pa.array(values, mask=rng.random(n) < 0.01) if i == 9 else pa.array(values)
            columns |= {"i0": rng.integers(0, 1000, n), "i1": rng.integers(0, 1 << 40, n), "s0": words.take(pa.array(rng.integers(0, 1000, n)))}
            pq.write_table(pa.table(columns), directory / f"raw{view}" / f"{day:03}.parquet", compression="snappy", row_group_size=1 << 17)
    rng = np.random.default_rng([seed, 999])
    table = {"row_id": np.arange(spine), "entity_id": rng.integers(0, entities * 105 // 100 + 1, spine)}
    table["event_time"] = pa.array(START + rng.integers(0, days * DAY, spine)).cast(micros)
    pq.write_table(pa.table(table), directory / "spine.parquet")


def duckdb_connection():
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    return connection


def duckdb_asof(directory, views, ttl):
    """ASOF join over the newest of each (entity, event time)."""
    wanted, joins = ["s.row_id"], []
    for v in range(views):
        columns = ", ".join(COLUMNS)
        joins.append(
            f"""ASOF LEFT JOIN (SELECT entity_id, event_time, {columns} FROM read_parquet('{directory}/raw{v}/*.parquet') QUALIFY row_number()
            OVER (PARTITION BY entity_id, event_time ORDER BY _accepted_at DESC) = 1) v{v}
            ON s.entity_id = v{v}.entity_id AND s.event_time >= v{v}.event_time"""
        )
        fresh = f"v{v}.event_time >= s.event_time - INTERVAL {ttl} SECOND" if ttl else "true"
        wanted += [f"CASE WHEN {fresh} THEN v{v}.{name} END AS view{v}__{name}" for name in COLUMNS]
    query = f"SELECT {', '.join(wanted)} FROM read_parquet('{directory}/spine.parquet') s {' '.join(joins)}"
    return duckdb_connection().execute(query).to_arrow_table()


def duckdb_join(directory, views, ttl):
    """A hash join cut to the ttl, then the newest by row_number."""
    wanted, joins = ["s.row_id"], []
    for v in range(views):
        columns = ", ".join(f"f.{name}" for name in COLUMNS)
        fresh = f"AND f.event_time >= s.event_time - INTERVAL {ttl} SECOND" if ttl else ""
        joins.append(
            f"""LEFT JOIN (SELECT s.row_id, {columns} FROM read_parquet('{directory}/spine.parquet') s
            JOIN read_parquet('{directory}/raw{v}/*.parquet') f ON f.entity_id = s.entity_id AND f.event_time <= s.event_time {fresh}
            QUALIFY row_number() OVER (PARTITION BY s.row_id ORDER BY f.event_time DESC, f._accepted_at DESC) = 1) v{v} USING (row_id)"""
        )
        wanted += [f"v{v}.{name} AS view{v}__{name}" for name in COLUMNS]
    query = f"SELECT {', '.join(wanted)} FROM read_parquet('{directory}/spine.parquet') s {' '.join(joins)}"
    return duckdb_connection().execute(query).to_arrow_table()


def polars(directory, views, ttl, engine):
    import datetime

    import polars as pl

    frame = pl.scan_parquet(directory / "spine.parquet").sort("event_time")
    for v in range(views):
        names = {name: f"view{v}__{name}" for name in COLUMNS}
        rows = pl.scan_parquet(directory / f"raw{v}/*.parquet").select("entity_id", "event_time", "_accepted_at", *COLUMNS)
        rows = rows.sort("event_time", "_accepted_at").drop("_accepted_at").rename(names | {"event_time": f"at{v}"})
        frame = frame.join_asof(
            rows, left_on="event_time", right_on=f"at{v}", by="entity_id", strategy="backward",
            tolerance=datetime.timedelta(seconds=ttl) if ttl else None, check_sortedness=False,
        ).drop(f"at{v}", strict=False)
    return frame.drop("entity_id", "event_time").collect(engine=engine).to_arrow()


PEERS = {
    "polars, streaming": lambda *given: polars(*given, "streaming"),
    "polars, in memory": lambda *given: polars(*given, "in-memory"),
    "duckdb, hash join": duckdb_join,
    "duckdb, ASOF": duckdb_asof,
}


def run_peer(args):
    import duckdb  # noqa: F401  Imports are no part of the work.
    import polars  # noqa: F401
    import pyarrow.parquet as pq

    started, cpu = time.perf_counter(), time.process_time()
    result = PEERS[args.peer](args.dir, args.views, args.ttl)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": round(seconds, 3), "cpu": round(cpu, 3), "peak_kib": peak, "rows": result.num_rows}))
    if args.out:
        pq.write_table(result, args.out)


def compare(expected, got):
    """How many values differ; the same column of the same row in both."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    expected, got = (pq.read_table(path).sort_by("row_id") for path in (expected, got))
    different = 0
    for name in expected.column_names:
        a, b = expected[name].combine_chunks(), got[name].combine_chunks().cast(expected.schema.field(name).type)
        same = pc.or_kleene(pc.and_(pc.is_null(a), pc.is_null(b)), pc.fill_null(pc.equal(a, b), False))
        different += len(a) - pc.sum(pc.cast(same, "int64")).as_py()
    return different


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench/run training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=pathlib.Path, default=pathlib.Path("/tmp/larder-bench-training"))
    parser.add_argument("--rows", type=int, default=10_000_000, help="of each view")
    parser.add_argument("--spine", type=int, default=1_000_000)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--ttl", type=int, default=86_400, help="seconds; 0 for none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", help="some of the peers, separated by semicolons")
    parser.add_argument("--plots", type=pathlib.Path)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return run_peer(args)
    for needed in ("duckdb", "polars", "pyarrow", "numpy"):
        try:
            __import__(needed)
        except ImportError:
            sys.exit(f"{needed} is missing; see scripts/bench/run")
    program = built("training")["training"]
    directory = args.dir / f"{args.rows}-{args.spine}-{args.views}"
    if not (directory / "store").exists():
        say(f"generating in {directory}")
        generate(directory, args.rows, args.spine, args.views)
        for view in range(args.views):
            subprocess.run([program, "load", directory / f"raw{view}", directory / "store", str(view)], check=True, stdout=sys.stderr)

    peers = args.engines.split(";") if args.engines else list(PEERS)
    answers, given = {}, set()
    ttl = f"{args.ttl}s" if args.ttl else "none"

    def run(name):
        first = name not in given
        given.add(name)
        if name == "floor: read and decode all":
            command = [program, "decode", directory / "store", str(args.views)]
        else:
            answers[name] = directory / f"{name}.parquet"
            out = [str(answers[name])] if first else []
            if name == "larder":
                command = [program, "run", directory / "spine.parquet", directory / "store", str(args.views), ttl, *out]
            else:
                command = [sys.executable, __file__, "--dir", directory, "--peer", name, "--views", str(args.views), "--ttl", str(args.ttl)]
                command += [f"--out={path}" for path in out]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            say(f"{name}: failed with {done.returncode}: {done.stderr[-500:]}")
            return {"seconds": float("nan"), "cpu": float("nan"), "peak_kib": float("nan")}
        return json.loads(done.stdout)

    names = ["larder", "floor: read and decode all", *peers]
    results = in_turn(args.rounds, {name: (lambda name: lambda: run(name))(name) for name in names})
    report = Report(f"Point-in-time join, {args.rows:,} rows x 13, {args.views} view{'s' if args.views > 1 else ''}")
    import duckdb as duckdb_module
    import polars as polars_module

    text = f"{args.spine:,} spine rows, ttl {ttl}; polars {polars_module.__version__}, duckdb {duckdb_module.__version__}; {args.rounds} rounds in turn."
    report.text(text)
    rows = []
    ours, peak = middle(results["larder"], "seconds"), max(run["peak_kib"] for run in results["larder"])
    for name, runs in results.items():
        memory = max(run["peak_kib"] for run in runs)
        same = "" if name not in answers or name == "larder" else f"{compare(answers['larder'], answers[name]):,}"
        rows.append([name, spread(runs, "seconds", 2), f"{middle(runs, 'cpu'):.1f}", f"{memory / 1024:,.0f}", f"{ours / middle(runs, 'seconds'):.2f}", f"{peak / memory:.2f}", same])
        report.bar("seconds", name, middle(runs, "seconds"), f"{middle(runs, 'seconds'):.2f} s, {memory / 1024:,.0f} MiB")
    report.table(["", "seconds: median (least to greatest)", "CPU s", "peak MiB", "wall of larder / this", "memory", "values unlike larder's"], rows)
    report.finish(args.plots)


if __name__ == "__main__":
    main()
