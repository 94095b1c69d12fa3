#!/usr/bin/env python3
"""Writes the small Parquet files below tests/fixtures/frames, as other writers make them. Needs pyarrow.

int96.parquet   times as INT96, the form of old Spark and Impala"""

import datetime
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

here = pathlib.Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "frames"
here.mkdir(parents=True, exist_ok=True)
utc = datetime.timezone.utc
times = [datetime.datetime(2024, 5, 1, 12, tzinfo=utc), datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=utc)]
table = pa.table({"k": ["now", "before"], "x": [1.0, 2.0], "event_time": pa.array(times, pa.timestamp("us", tz="UTC"))})
pq.write_table(table, here / "int96.parquet", use_deprecated_int96_timestamps=True)
