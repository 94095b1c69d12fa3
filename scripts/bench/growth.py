"""How time and memory follow as the work doubles: rows, entities, labels, features, views, each by itself.

A fresh node for each measurement: a Parquet file is ingested, the newest values of one entity are read over 32 connections, a
training set is made over HTTP. Target: at most n log n; online reads flat in the number of entities that fit the cache."""

import argparse
import pathlib
import tempfile

from harness import Bodies, Larder, Report, built, missing, say, status, wrk
from users import BASE

SECOND = 1_000_000
#: What is doubled, and everything else stays as it is here.
USUAL = {"rows": 500_000, "entities": 100_000, "labels": 100_000, "features": 10, "views": 1}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench/run growth", description=__doc__)
    parser.add_argument("--doublings", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=4, help="of each run of online load")
    parser.add_argument("--only", default=",".join(USUAL), help="what to double, separated by commas")
    args = parser.parse_args()
    program = built()["larder"]
    report = Report("As the work grows")
    columns = ["ingest s", "rows/s", "reads/s", "training set s", "peak MiB"]
    usual = measure(args, program, **USUAL)
    for what in args.only.split(","):
        table = [[f"{USUAL[what]:,}", *usual]]
        for doubling in range(1, args.doublings + 1):
            work = {**USUAL, what: USUAL[what] << doubling}
            table.append([f"{work[what]:,}", *measure(args, program, **work)])
        report.table([what, *columns], table)
    report.text("Everything else as in the first line of each table: " + ", ".join(f"{n:,} {name}" for name, n in USUAL.items()) + ".")
    report.finish(None)


def measure(args, program, rows, entities, labels, features, views):
    """Rows are of each view; a training set has all features of all views, an online read those of the first."""
    names = [f"f{i}" for i in range(features)]
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as directory:
        directory = pathlib.Path(directory)
        write_rows(directory / "rows.parquet", rows, entities, names)
        with Larder(program, directory / "node") as node:
            node.apply(definitions(views, names))
            ingested = sum(node.ingest(directory / "rows.parquet", "--view", f"view{view}") for view in range(views))
            online = "-"
            if not missing("wrk", "wrk"):
                asked = [f"view0:{name}" for name in names]
                users = [(i * 7919) % min(entities, rows) for i in range(400)]
                bodies = Bodies([{"features": asked, "entities": {"user_id": [user]}} for user in users])
                online = f"{wrk(node.port, '/v1/online-features', bodies, seconds=args.seconds)['per_s']:,.0f}"
            took = training_set(node, labels, entities, rows, views)
            peak = status(node.pid, "VmHWM")
    figures = [f"{ingested:.1f}", f"{rows * views / ingested:,.0f}", online, f"{took:.2f}", f"{peak:,.0f}"]
    say(f"{rows} rows, {entities} entities, {labels} labels, {features} features, {views} views: {figures}")
    return figures


def definitions(views, names):
    text = '[[entity]]\nname = "user"\njoin_keys = [{ name = "user_id", type = "int64" }]\n'
    features = ", ".join(f'{{ name = "{name}", type = "float64" }}' for name in names)
    for view in range(views):
        text += f'[[feature_view]]\nname = "view{view}"\nentities = ["user"]\nfeature = [{features}]\n'
    return text


def write_rows(path, rows, entities, names):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = np.arange(rows, dtype=np.int64)
    columns = {"user_id": ids * 7919 % entities, "event_time": pa.array(BASE + ids * SECOND).cast(pa.timestamp("us", tz="UTC"))}
    columns |= {name: ((ids * 7919 + i * 104729) % 1_000_003) / 1000 for i, name in enumerate(names)}
    pq.write_table(pa.table(columns), path, row_group_size=1 << 17)


def training_set(node, labels, entities, rows, views):
    """Seconds from the request to the last byte of the answer."""
    import io
    import time

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = np.random.default_rng(7)
    times = pa.array(BASE + source.integers(0, rows * SECOND, labels)).cast(pa.timestamp("us", tz="UTC"))
    spine = io.BytesIO()
    pq.write_table(pa.table({"user_id": source.integers(0, entities, labels), "event_time": times}), spine)
    asked = ",".join(f"view{view}" for view in range(views))
    kind = "application/vnd.apache.parquet"
    started = time.perf_counter()
    code, answer = node.request("POST", f"/v1/training-sets?features={asked}", spine.getvalue(), {"Content-Type": kind, "Accept": kind})
    took = time.perf_counter() - started
    if code != 200:
        raise SystemExit(f"training set: {code} {answer[:300]}")
    if pq.read_metadata(io.BytesIO(answer)).num_rows != labels:
        raise SystemExit("the training set has not as many rows as there are labels")
    return took


if __name__ == "__main__":
    main()
