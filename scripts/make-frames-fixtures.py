#!/usr/bin/env python3
"""Writes tests/fixtures/frames: the same two rows, and no rows, as data frames' libraries write them.

    scripts/make-frames-fixtures.py DIR     with pandas, pyarrow, polars and duckdb
    scripts/make-frames-fixtures.py DIR fastparquet     with fastparquet (it may need an older pandas)

The rows: device_id (a UUID), event_time, seats 180 and missing, price 10.5 and missing, note "a" and missing, tags ["x"] and
missing, emb [0.1, 2.0] and missing, flag true and false, gone: missing in both. NaN in `temp`, made by 0/0 of this machine.
"""

import decimal
import pathlib
import sys
import uuid

A, B = "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c9"
TIME = "2024-05-01T11:00:00Z"
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)


def path(name):
    return str(folder / name)


def pandas_frame(lists=True):
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(
        {
            "device_id": [A.upper(), B.replace("-", "")],
            "event_time": pd.to_datetime([TIME, TIME]),
            "seats": [180.0, np.nan],
            "price": [10.5, np.nan],
            "note": pd.Categorical(["a", None]),
            "flag": [True, False],
        }
    )
    if lists:
        frame["tags"] = [["x"], None]
        frame["emb"] = [np.array([0.1, 2.0]), None]
        frame["gone"] = [None, None]
    return frame


def with_pandas():
    frame = pandas_frame()
    for suffix, rows in (("", frame), ("-empty", frame.iloc[:0])):
        rows.to_parquet(path(f"pandas{suffix}.parquet"), index=False)
        rows.to_feather(path(f"pandas{suffix}.feather"), compression="uncompressed")
    frame.to_feather(path("pandas-lz4.feather"))


def with_pyarrow():
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    with np.errstate(all="ignore"):
        nan = np.zeros(1) / np.zeros(1)
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array(["a", None]))
    columns = {
        "device_id": pa.array([uuid.UUID(A).bytes, uuid.UUID(B).bytes], pa.uuid()),
        "event_time": pa.array([1714561200000000] * 2, pa.timestamp("us", "UTC")),
        "seats": pa.array([decimal.Decimal("180.00"), None], pa.decimal128(10, 2)),
        "price": pa.array([decimal.Decimal("10.5"), None], pa.decimal256(40, 1)),
        "note": runs,
        "tags": pa.array([["x"], None], pa.large_list(pa.dictionary(pa.int8(), pa.large_string()))),
        "emb": pa.array([[0.1, 2.0], None], pa.list_(pa.float64(), 2)),
        "flag": pa.array([True, False]),
        "gone": pa.nulls(2, pa.float64()),
        "temp": pa.array(np.concatenate([nan, nan])),
    }
    table = pa.table(columns)
    plain = table.set_column(4, "note", pa.array(["a", None], pa.dictionary(pa.uint32(), pa.string())))
    plain = plain.set_column(5, "tags", pa.array([["x"], None], pa.large_list(pa.large_string())))
    for suffix, rows in (("", slice(0, 2)), ("-empty", slice(0, 0))):
        with pa.ipc.new_stream(path(f"pyarrow{suffix}.arrows"), table.schema) as writer:
            writer.write_table(table[rows])
        with pa.ipc.new_file(path(f"pyarrow{suffix}.arrow"), table.schema) as writer:
            writer.write_table(table[rows])
        pq.write_table(plain[rows], path(f"pyarrow{suffix}.parquet"))
    # A file whose middle row group has no rows.
    with pq.ParquetWriter(path("pyarrow-empty-group.parquet"), plain.schema) as writer:
        writer.write_table(plain[:1])
        writer.write_table(plain[:0])
        writer.write_table(plain[1:])


def with_polars():
    import polars as pl

    frame = pl.DataFrame(
        {
            "device_id": [A, "{" + B.upper() + "}"],
            "event_time": [1714561200000000] * 2,
            "seats": [180.0, None],
            "price": [10.5, None],
            "note": ["a", None],
            "tags": [["x"], None],
            "emb": [[0.1, 2.0], None],
            "flag": [True, False],
            "gone": [None, None],
        },
        schema_overrides={"note": pl.Categorical, "tags": pl.List(pl.Enum(["x", "y"])), "gone": pl.Null},
    ).with_columns(pl.col("event_time").cast(pl.Datetime("us", "UTC")))
    for suffix, rows in (("", frame), ("-empty", frame[:0])):
        rows.write_ipc_stream(path(f"polars{suffix}.arrows"))
        rows.write_ipc(path(f"polars{suffix}.arrow"))
        rows.write_parquet(path(f"polars{suffix}.parquet"))


def with_duckdb():
    import duckdb

    query = f"""
        SELECT * FROM (VALUES
            ('{A}'::UUID, TIMESTAMPTZ '{TIME}', 180.0::DECIMAL(12, 3), 10.5::DECIMAL(4, 1), 'a'::ENUM ('a', 'b'),
             ['x'], [0.1::DOUBLE, 2.0::DOUBLE], true, NULL::INTEGER),
            ('{B}'::UUID, TIMESTAMPTZ '{TIME}', NULL, NULL, NULL, NULL, NULL, false, NULL::INTEGER)
        ) t(device_id, event_time, seats, price, note, tags, emb, flag, gone)"""
    for suffix, rows in (("", ""), ("-empty", " WHERE false")):
        duckdb.sql(f"COPY ({query}{rows}) TO '{path(f'duckdb{suffix}.parquet')}' (FORMAT parquet)")


def with_fastparquet():
    import fastparquet

    frame = pandas_frame(lists=False)
    for suffix, rows in (("", frame), ("-empty", frame.iloc[:0])):
        fastparquet.write(path(f"fastparquet{suffix}.parquet"), rows, write_index=False, compression="GZIP")


if sys.argv[2:] == ["fastparquet"]:
    with_fastparquet()
else:
    with_pandas()
    with_pyarrow()
    with_polars()
    with_duckdb()
