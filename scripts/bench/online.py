"""Online reads: larder, a constant answer by the same HTTP server, Redis, Feast with Redis.

Targets: one entity x 10 features at 0.85 of the constant answer, 0.9 of Redis without pipelining, 45 x Feast; 100 entities x 10
at 2.5 x Redis pipelined and 100 x Feast; Arrow 1.5 x JSON; three expressions of a request's features at most 1.3 x the time
without; 30 window aggregates at half of 30 plain features; under ingest, an open loop's p99 at most 3 x that without."""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import harness
from harness import Bodies, Larder, Process, Report, built, free_port, in_turn, middle, missing, say, spread, wrk
from users import BASE, DEFINITIONS, FEATURES, Feast, fill_redis, online_body, some_users, value, write_parquet

PATH = "/v1/online-features"
ARROW = "application/vnd.apache.arrow.stream"
DAY = 86_400_000_000
WINDOW_USERS = 1000


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench/run online", description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=300_000, help="for the window aggregates")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each run of load")
    parser.add_argument("--feast", help="a Python that has feast[redis]")
    parser.add_argument("--plots", type=pathlib.Path)
    parser.add_argument("--only", default="reads,on-demand,windows,ingest", help="parts, separated by commas")
    args = parser.parse_args()
    if problem := missing("wrk", "wrk"):
        sys.exit(problem)
    parts = args.only.split(",")
    programs = built("floors")
    report = Report("Online reads")
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as directory:
        directory = pathlib.Path(directory)
        data = directory / "users.parquet"
        write_parquet(data, args.users)
        with Larder(programs["larder"], directory / "node") as node:
            node.apply(DEFINITIONS + EXPRESSIONS + window_definitions())
            node.ingest(data, "--view", "users")
            if "reads" in parts:
                reads(args, report, programs, node, directory, data)
            if "on-demand" in parts:
                on_demand(args, report, node)
            if "windows" in parts:
                windows(args, report, node, directory)
            if "ingest" in parts:
                under_ingest(args, report, programs, node)
    report.finish(args.plots)


def reads(args, report, programs, node, directory, data):
    one = Bodies([online_body(users) for users in some_users(args.users, 1)])
    hundred = [online_body(users) for users in some_users(args.users, 100)]
    many, arrow = Bodies(hundred), Bodies(hundred, accept=ARROW)
    load = lambda port, path, bodies: lambda: wrk(port, path, bodies, seconds=args.seconds)

    answer = directory / "answer"
    answer.write_bytes(node.request("POST", PATH, json.dumps(online_body([7])), {"Content-Type": "application/json"})[1])
    port = free_port()
    floor = Process([programs["floors"], "http", f"127.0.0.1:{port}", str(answer)], port)
    time.sleep(0.3)
    single = {
        "larder": load(node.port, PATH, one),
        "constant answer (axum)": load(port, PATH, one),
    }
    batch = {"larder, JSON": load(node.port, PATH, many), "larder, Arrow": load(node.port, PATH, arrow)}
    processes, notes = [floor], []
    problem = missing("redis-server", "redis-server")
    if problem:
        notes.append(f"Redis: {problem}.")
    else:
        store = harness.redis(directory)
        processes.append(store)
        fill_redis(store.port, args.users)
        single["Redis HMGET"] = lambda: redis_benchmark(store.port, args, 1)
        batch["Redis HMGET, 100 a round trip"] = lambda: redis_benchmark(store.port, args, 100)
        check_redis(store.port, args.users)
        if args.feast and pathlib.Path(args.feast).exists():
            feast = Feast(args.feast, directory, store.port, data)
            feast.step("materialize")
            served = feast.step("read", *map(str, range(0, args.users, args.users // 20)))["values"]
            check("Feast", served, range(0, args.users, args.users // 20))
            server = feast.serve()
            processes.append(server)
            load_feast = lambda bodies: lambda: wrk(server.port, "/get-online-features", bodies, 16, args.seconds, forgiving=True)
            single["Feast + Redis, 2 workers"], batch["Feast + Redis, 2 workers"] = load_feast(one), load_feast(many)
        else:
            notes.append("Feast: not measured (`--feast PYTHON`, of a virtual environment with `feast[redis]`).")
    users = list(range(0, args.users, max(1, args.users // 50)))
    check("larder", node.post(PATH, online_body(users))["values"], users)

    try:
        first, second = in_turn(args.rounds, single), in_turn(args.rounds, batch)
    finally:
        for process in processes:
            process.stop()
    title = f"{args.users:,} users, 32 connections (Feast 16), {args.seconds} s a run, {args.rounds} rounds in turn. Load and servers share the cores."
    report.text(title, "", "One entity x 10 features:")
    table(report, "1 entity x 10", first, "larder", "requests/s", 1)
    report.text("100 entities x 10 features:")
    table(report, "100 entities x 10", second, "larder, JSON", "entities/s", 100)
    report.text(*notes)


def table(report, group, results, ours, unit, factor):
    rows = []
    for name, runs in results.items():
        runs = [{**run, "per_s": run["per_s"] * (1 if "Redis HMGET" in name else factor)} for run in runs]
        results[name] = runs
        ratio = middle(results[ours]) / middle(runs)
        rows.append([name, spread(runs), f"{middle(runs, 'p50_ms'):.2f}", f"{middle(runs, 'p99_ms'):.2f}", f"{ratio:.2f}"])
        report.bar(f"{group}: {unit}", name, middle(runs))
    report.table([group, f"{unit}: median (least to greatest)", "p50 ms", "p99 ms", "larder / this"], rows)


def redis_benchmark(port, args, pipeline):
    count = int(args.seconds * (60_000 if pipeline == 1 else 300_000))
    command = ["redis-benchmark", "-p", str(port), "-c", "32", "-n", str(count), "-r", str(args.users), "-P", str(pipeline)]
    command += ["--csv", "HMGET", "user:__rand_int__", *FEATURES]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    row = dict(zip(*(line.strip('"').split('","') for line in (lines[0], lines[-1]))))
    return {"per_s": float(row["rps"]), "p50_ms": float(row["p50_latency_ms"]), "p99_ms": float(row["p99_latency_ms"])}


def check(who, values, users):
    expected = [[value(user, i) for i in range(10)] for user in users]
    if values != expected:
        sys.exit(f"{who} answers otherwise: {values[0]}, not {expected[0]}")


def check_redis(port, users):
    for user in range(0, users, users // 20):
        command = ["redis-cli", "-p", str(port), "HMGET", f"user:{user:012}", *FEATURES]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        check("Redis", [[float(it) for it in answer]], [user])


EXPRESSIONS = """
[[on_demand_feature_view]]
name = "ratios"
request = { distance = "float64" }
uses = ["users:f0", "users:f1", "users:f2"]
feature = [
  { name = "age", type = "float64", expression = "2013 - f0" },
  { name = "is_gusty", type = "bool", expression = "coalesce(f1, 0) > 25" },
  { name = "speed", type = "float64", expression = "distance / (f2 / 60)" },
]
"""


def on_demand(args, report, node):
    plain = [online_body(users) for users in some_users(args.users, 1)]
    computed = [body | {"features": [*body["features"], "ratios"], "request": {"distance": 1400.0}} for body in plain]
    for body in computed[:20]:
        *values, age, is_gusty, speed = node.post(PATH, body)["values"][0]
        expected = [2013 - values[0], values[1] > 25, 1400.0 / (values[2] / 60)]
        if [age, is_gusty, speed] != expected:
            sys.exit(f"on-demand features answer otherwise: {[age, is_gusty, speed]}, not {expected}")
    load = lambda bodies: (lambda bodies: lambda: wrk(node.port, PATH, bodies, seconds=args.seconds))(Bodies(bodies))
    results = in_turn(args.rounds, {"larder, and 3 expressions of them": load(computed), "larder, 10 features": load(plain)})
    report.text("One entity, 10 features, without and with three on-demand features of them and of the request:")
    table(report, "on demand", results, "larder, and 3 expressions of them", "requests/s", 1)


def window_definitions():
    """Ten stream views of three aggregates over 30 days, and ten plain views of three features."""
    text = '[[source]]\nname = "clicks"\nkind = "push"\nevent_time = "event_time"\nschema = { user_id = "int64", amount = "float64" }\n'
    for view in range(10):
        # Filters, so that no two views can share anything.
        makers = [("sum", "sum"), ("count", "count"), ("max", "max")]
        aggregations = ", ".join(
            f'{{ name = "{name}", function = "{function}", column = "amount", window = "30d", filter = "amount > {view}" }}'
            for name, function in makers
        )
        text += f'[[stream_feature_view]]\nname = "windows{view}"\nentities = ["user"]\nsource = "clicks"\naggregation = [{aggregations}]\n'
        features = ", ".join(f'{{ name = "{name}", type = "float64" }}' for name, _ in makers)
        text += f'[[feature_view]]\nname = "plain{view}"\nentities = ["user"]\nfeature = [{features}]\n'
    return text


def windows(args, report, node, directory):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    now = int(time.time() * 1e6)
    rng = np.random.default_rng(3)
    micros = pa.timestamp("us", tz="UTC")
    times = np.sort(now - rng.integers(0, 29 * DAY, args.events))
    who, amount = rng.integers(0, WINDOW_USERS, args.events), np.round(rng.gamma(2.0, 20.0, args.events), 2)
    pq.write_table(pa.table({"user_id": who, "event_time": pa.array(times).cast(micros), "amount": amount}), directory / "e.parquet")
    took = node.ingest(directory / "e.parquet", "--source", "clicks")
    ids = np.arange(WINDOW_USERS)
    plain = {"user_id": ids, "event_time": pa.array(BASE + ids).cast(micros)} | {n: ids * 0.5 for n in ("sum", "count", "max")}
    pq.write_table(pa.table(plain), directory / "p.parquet")
    for view in range(10):
        node.ingest(directory / "p.parquet", "--view", f"plain{view}")

    features = lambda prefix: [f"{prefix}{view}:{name}" for view in range(10) for name in ("sum", "count", "max")]
    body = lambda prefix, user: {"features": features(prefix), "entities": {"user_id": [user]}}
    for user in (0, 17, WINDOW_USERS - 1):
        mine = amount[who == user]
        got = node.post(PATH, body("windows", user))["values"][0]
        for view in range(10):
            counted = mine[mine > view]
            total, count, most = got[view * 3 : view * 3 + 3]
            if count != len(counted) or most != counted.max() or abs(total - counted.sum()) > 1e-6:
                sys.exit(f"windows answer otherwise: {total, count, most}, not {counted.sum(), len(counted), counted.max()}")
    source = random.Random(2)
    users = [source.randrange(WINDOW_USERS) for _ in range(400)]
    load = lambda prefix: (lambda bodies: lambda: wrk(node.port, PATH, bodies, seconds=args.seconds))(Bodies([body(prefix, u) for u in users]))
    results = in_turn(args.rounds, {"larder, 30 aggregates over 30 days": load("windows"), "larder, 30 plain features": load("plain")})
    report.text(
        f"One entity, 10 views x 3; {args.events:,} events of {WINDOW_USERS:,} users over 29 days, each in ten views (ingested in {took:.1f} s, {args.events / took:,.0f} events/s):"
    )
    table(report, "30 features of 10 views", results, "larder, 30 aggregates over 30 days", "requests/s", 1)


def under_ingest(args, report, programs, node):
    """An open loop at a third of what the closed loop reaches; then the same while a writer writes at a quarter of its most."""
    one = Bodies([online_body(users) for users in some_users(args.users, 1)])
    most = wrk(node.port, PATH, one, seconds=args.seconds)["per_s"]
    rows = lambda batch: {"rows": [{"user_id": (batch * 1000 + i) % args.users, "event_time": BASE + 10**9 + batch, **{name: value((batch * 1000 + i) % args.users, k) for k, name in enumerate(FEATURES)}} for i in range(1000)]}
    writes = Bodies([rows(batch) for batch in range(100)])
    write_path = "/v1/feature-views/users/rows?time_unit=us"
    full = wrk(node.port, write_path, writes, connections=4, seconds=args.seconds)["per_s"]
    seconds = max(args.seconds, 10)

    def open_loop(path, bodies, rate):
        command = [programs["floors"], "load", f"127.0.0.1:{node.port}", path, bodies.dir.name, str(bodies.count), str(rate), str(seconds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def quiet():
        return json.loads(open_loop(PATH, one, most / 3).communicate()[0])

    def busy():
        writer = open_loop(write_path, writes, full / 4)
        reads = quiet()
        written = json.loads(writer.communicate()[0])
        return {**reads, "rows_s": written["per_s"] * 1000}

    results = in_turn(args.rounds, {"larder": quiet, "larder, while it ingests": busy})
    for runs in results.values():
        if any(run["bad"] for run in runs):
            sys.exit("requests of the open loop failed")
    written = middle(results["larder, while it ingests"], "rows_s")
    report.text(
        f"Open loop, one entity x 10, {most / 3:,.0f} requests/s (a third of the most) for {seconds} s a run; beside it {written:,.0f} rows/s are "
        "written in batches of 1,000, JSON, each synced (a quarter of the most):"
    )
    quiet_p99 = middle(results["larder"], "p99_ms")
    report.table(
        ["", "p50 ms", "p99 ms: median (least to greatest)", "longest ms", "p99 / p99 without"],
        [
            [name, f"{middle(runs, 'p50_ms'):.2f}", spread(runs, "p99_ms", 2), f"{max(run['max_ms'] for run in runs):.1f}", f"{middle(runs, 'p99_ms') / quiet_p99:.2f}"]
            for name, runs in results.items()
        ],
    )


if __name__ == "__main__":
    main()
