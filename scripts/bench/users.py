"""The data of the online and ingest measurements: users with ten floats each."""

import json
import pathlib
import random
import subprocess
import sys

from harness import Process, free_port, say

FEATURES = [f"f{i}" for i in range(10)]
DEFINITIONS = """
[[entity]]
name = "user"
join_keys = [{ name = "user_id", type = "int64" }]

[[feature_view]]
name = "users"
entities = ["user"]
feature = [""" + ", ".join(f'{{ name = "{name}", type = "float64" }}' for name in FEATURES) + "]\n"
BASE = 1_700_000_000_000_000


def value(user, feature):
    """What everyone has to answer."""
    return ((user * 7919 + feature * 104729) % 1_000_003) / 1000


def write_parquet(path, users, first=0):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = np.arange(first, first + users, dtype=np.int64)
    columns = {"user_id": ids, "event_time": pa.array(BASE + ids).cast(pa.timestamp("us", tz="UTC"))}
    columns |= {name: ((ids * 7919 + i * 104729) % 1_000_003) / 1000 for i, name in enumerate(FEATURES)}
    pq.write_table(pa.table(columns), path, row_group_size=1 << 17)


def fill_redis(port, users):
    loader = subprocess.Popen(["redis-cli", "-p", str(port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with loader.stdin as pipe:
        for user in range(users):
            words = ["HSET", f"user:{user:012}"]
            for i, name in enumerate(FEATURES):
                words += [name, repr(value(user, i))]
            pipe.write(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
    loader.wait()


def online_body(users):
    return {"features": [f"users:{name}" for name in FEATURES], "entities": {"user_id": users}}


def some_users(users, each, seed=1):
    source = random.Random(seed)
    return [[source.randrange(users) for _ in range(each)] for _ in range(400)]


class Feast:
    """A repository on Redis, and its server."""

    def __init__(self, python, directory, redis_port, data):
        self.python, self.repo = python, pathlib.Path(directory) / "feast"
        self.step("apply", f"127.0.0.1:{redis_port}", str(data))

    def step(self, *arguments):
        command = [self.python, str(pathlib.Path(__file__).with_name("feast_peer.py")), str(self.repo), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"feast {arguments[0]}: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def serve(self):
        port = free_port()
        program = str(pathlib.Path(self.python).with_name("feast"))
        command = [program, "-c", str(self.repo), "serve", "-h", "127.0.0.1", "-p", str(port), "--no-access-log", "-w", "2"]
        server = Process(command, port, log=self.repo / "serve.log")
        server.wait_for("/health", pause=0.3)
        say(f"feast serves on {port}")
        return server
