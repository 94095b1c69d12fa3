"""Twenty minutes of everything at once: the node's memory has to stay where it is.

Rows and events are written, each synced; newest values, aggregates and 100 entities at a time are read, all at fixed rates; now and
then a training set is made and SQL is asked. The resident set is read every five seconds, and what of it the online store's parts say
that they hold; each of those has a bound."""

import argparse
import json
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from harness import Bodies, Larder, Report, built, say, status
from users import BASE, DEFINITIONS, FEATURES, online_body, some_users, value, write_parquet

USERS = 100_000
WINDOWS = """
[[source]]
name = "clicks"
kind = "push"
event_time = "event_time"
schema = { user_id = "int64", amount = "float64" }

[[stream_feature_view]]
name = "spending"
entities = ["user"]
source = "clicks"
aggregation = [
  { name = "sum_1h", function = "sum", column = "amount", window = "1h" },
  { name = "count_7d", function = "count", window = "7d" },
  { name = "p90_7d", function = "approx_percentile", p = 0.9, column = "amount", window = "7d" },
]
"""


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench/run soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--plots", type=pathlib.Path)
    args = parser.parse_args()
    programs = built("floors")
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as directory:
        directory = pathlib.Path(directory)
        write_parquet(directory / "users.parquet", USERS)
        with Larder(programs["larder"], directory / "node") as node:
            node.apply(DEFINITIONS + WINDOWS)
            node.ingest(directory / "users.parquet", "--view", "users")
            samples, done = soak(args, programs["floors"], node)
    tell(args, samples, done)


def rows(batch, size):
    at = BASE + 10**9 + batch
    ids = [(batch * size + i) % USERS for i in range(size)]
    return {"rows": [{"user_id": user, "event_time": at} | {n: value(user, k) for k, n in enumerate(FEATURES)} for user in ids]}


def events(source, size):
    """Of the last day, so that windows open and close."""
    now = int(time.time() * 1e6)
    return {"rows": [{"user_id": source.randrange(1000), "event_time": now - source.randrange(86_400_000_000), "amount": round(source.random() * 100, 2)} for _ in range(size)]}


def soak(args, floors, node):
    seconds = int(args.minutes * 60)
    source = random.Random(5)
    reads = "/v1/online-features"
    streams = {
        "newest values of one entity": (reads, Bodies([online_body(users) for users in some_users(USERS, 1)]), 2000),
        "newest values of 100": (reads, Bodies([online_body(users) for users in some_users(USERS, 100)]), 50),
        "aggregates of one": (reads, Bodies([{"features": ["spending"], "entities": {"user_id": [user]}} for user in range(400)]), 500),
        "rows, 100 a batch": ("/v1/feature-views/users/rows?time_unit=us", Bodies([rows(n, 100) for n in range(400)]), 20),
        "events, 50 a batch": ("/v1/sources/clicks/events?time_unit=us", Bodies([events(source, 50) for _ in range(400)]), 20),
    }
    loads = {}
    for name, (path, bodies, rate) in streams.items():
        command = [floors, "load", f"127.0.0.1:{node.port}", path, bodies.dir.name, str(bodies.count), str(rate), str(seconds)]
        loads[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    done = {"training sets of 20,000 labels": 0, "queries": 0}
    ended = threading.Event()

    def now_and_then():
        spine = "user_id,event_time\n" + "".join(f"{source.randrange(USERS)},2030-01-01T00:00:00Z\n" for _ in range(20_000))
        while not ended.wait(10):
            code, answer = node.request("POST", "/v1/training-sets?features=users,spending", spine, {"Content-Type": "text/csv", "Accept": "application/vnd.apache.parquet"})
            if code != 200:
                sys.exit(f"training set: {code} {answer[:300]}")
            node.post("/v1/sql", {"query": "SELECT count(*) AS n, avg(f0) AS mean FROM users__latest"})
            done["training sets of 20,000 labels"] += 1
            done["queries"] += 1

    worker = threading.Thread(target=now_and_then)
    worker.start()
    samples, started = [], time.monotonic()
    while time.monotonic() - started < seconds:
        samples.append((time.monotonic() - started, status(node.pid, "VmRSS"), parts(node)))
        time.sleep(5)
    ended.set()
    worker.join()
    for name, load in loads.items():
        figures = json.loads(load.communicate()[0])
        if figures["bad"]:
            sys.exit(f"{name}: {figures['bad']} requests failed")
        done[name] = round(figures["per_s"] * seconds)
        say(f"{name}: {figures}")
    return samples, done


PARTS = ["row_cache", "block_cache", "memtables"]


def parts(node):
    """MiB by part."""
    text = node.request("GET", "/metrics")[1].decode()
    return {part: float(bytes) / (1 << 20) for part, bytes in re.findall(r'larder_online_memory_bytes\{part="(\w+)"\} (\S+)', text)}


def tell(args, samples, done):
    report = Report(f"Memory over {args.minutes:g} minutes of mixed load")
    report.text(", ".join(f"{count:,} {name}" for name, count in done.items()) + "; not one request failed.")
    end = samples[-1][0]
    table = []
    for fifth in range(5):
        part = [sample for sample in samples if end * fifth / 5 <= sample[0] <= end * (fifth + 1) / 5]
        resident = [mib for _, mib, _ in part]
        medians = [f"{statistics.median(held[name] for _, _, held in part):,.0f}" for name in PARTS]
        table.append([f"{end * fifth / 300:.0f} to {end * (fifth + 1) / 300:.0f}", f"{statistics.median(resident):,.0f}", f"{max(resident):,.0f}", *medians])
    report.table(["minutes", "resident MiB: median", "most", *(f"of it {name.replace('_', ' ')}" for name in PARTS)], table)
    report.finish(None)
    if args.plots:
        args.plots.mkdir(parents=True, exist_ok=True)
        (args.plots / "memory.svg").write_text(line(report.title, [(at, mib) for at, mib, _ in samples]))


def line(title, samples):
    width, height, left, low = 860, 260, 60, 220
    end, most = samples[-1][0], max(mib for _, mib in samples) * 1.1
    x = lambda at: left + (width - left - 20) * at / end
    y = lambda mib: low - (low - 50) * mib / most
    parts = [f'<text x="12" y="26" font-size="17" font-weight="bold">{title}</text>']
    for mark in range(5):
        mib = most * mark / 4
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(mib):.0f}" y2="{y(mib):.0f}" stroke="#e2e8f0"/>')
        parts.append(f'<text x="{left - 6}" y="{y(mib) + 4:.0f}" text-anchor="end">{mib:.0f}</text>')
        parts.append(f'<text x="{x(end * mark / 4):.0f}" y="{low + 18}" text-anchor="middle">{end * mark / 240:.0f} min</text>')
    points = " ".join(f"{x(at):.1f},{y(mib):.1f}" for at, mib in samples)
    parts.append(f'<polyline points="{points}" fill="none" stroke="#c2410c" stroke-width="2"/>')
    parts.append(f'<text x="{left}" y="44">resident MiB</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


if __name__ == "__main__":
    main()
