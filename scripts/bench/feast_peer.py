"""Feast with Redis, run by a Python that has it: `feast_peer.py REPO STEP …`. Prints one line of JSON.

    apply REDIS DATA      a repository with one view of ten floats, over a Parquet file
    materialize           the file into Redis; seconds and rows a second
    read USERS…           the values of users, as they are served"""

import json
import pathlib
import sys
import time
from datetime import datetime, timedelta, timezone

FEATURES = [f"f{i}" for i in range(10)]


def apply(repo, redis, data):
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
    from feast.types import Float64

    repo.mkdir(parents=True, exist_ok=True)
    (repo / "feature_store.yaml").write_text(
        f"""project: bench
registry: {{path: {repo}/registry.db, cache_ttl_seconds: 600}}
provider: local
online_store: {{type: redis, connection_string: "{redis}"}}
offline_store: {{type: dask}}
entity_key_serialization_version: 3
"""
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    file = FileSource(name="users", path=data, timestamp_field="event_time")
    push = PushSource(name="users_push", batch_source=file)
    fields = [Field(name=name, dtype=Float64) for name in FEATURES]
    view = FeatureView(
        name="users", entities=[user], ttl=timedelta(days=3650), schema=fields, source=push, online=True
    )
    FeatureStore(str(repo)).apply([user, push, view])
    return {}


def materialize(repo):
    from feast import FeatureStore

    store = FeatureStore(str(repo))
    started = time.perf_counter()
    store.materialize(datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2030, 1, 1, tzinfo=timezone.utc))
    return {"seconds": time.perf_counter() - started}


def read(repo, *users):
    from feast import FeatureStore

    answer = FeatureStore(str(repo)).get_online_features(
        features=[f"users:{name}" for name in FEATURES], entity_rows=[{"user_id": int(user)} for user in users]
    )
    columns = answer.to_dict()
    return {"values": [list(row) for row in zip(*(columns[name] for name in FEATURES))]}


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr
    result = globals()[sys.argv[2]](pathlib.Path(sys.argv[1]), *sys.argv[3:])
    print(json.dumps(result), file=out)
