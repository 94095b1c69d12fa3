"""Whether the readers of a Delta table find by a filter what they find without one.

delta_filters.py TABLE: for each column and each of its values, every comparison, in deltalake (pandas filters, dataset,
QueryBuilder), polars and duckdb. Prints what differs, a line each; nothing where all agree.
"""

import json
import math
import operator
import sys

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

path = sys.argv[1]
table = deltalake.DeltaTable(path)
dataset = table.to_pyarrow_dataset()
files = table.file_uris()
schema = dataset.schema
# The rows as the files have them: nothing was skipped.
whole = pa.concat_tables([ds.dataset(file, schema=schema).to_table() for file in files])
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
connection.register("t", dataset)
connection.execute(f"CREATE VIEW files AS SELECT * FROM read_parquet({files!r}, union_by_name = true)")
query = deltalake.QueryBuilder().register("t", table)

COMPARISONS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def literal(value, kind):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        number = repr(value) if math.isfinite(value) else f"'{value}'"
        return f"CAST({number} AS {'REAL' if kind == pa.float32() else 'DOUBLE'})"
    if isinstance(value, int):
        return f"CAST({value} AS BIGINT)"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"CAST('{value.isoformat()}' AS TIMESTAMP WITH TIME ZONE)"


def key(value):
    """NaN is above all numbers."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return (is_nan, 0.0 if is_nan else value)


def expected(values, comparison, value, nan_counts):
    compare = COMPARISONS[comparison]
    if not nan_counts:
        values = [v for v in values if not key(v)[0]]
    return sum(compare(key(v), key(value)) for v in values)


def check(what, reader, find, wanted):
    try:
        found = find()
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    if found != wanted:
        print(f"{reader}: {what}: {found}, not {wanted}")


def check_value(name, kind, values, value):
    scalar = pa.scalar(value, kind)
    for comparison, compare in COMPARISONS.items():
        what = f"{name} {comparison} {value!r}"
        beside = expected(values, comparison, value, nan_counts=False)
        above = expected(values, comparison, value, nan_counts=True)
        condition = compare(pc.field(name), scalar)
        sql = f"FROM t WHERE {name} {comparison} {literal(value, kind)}"
        check(what, "dataset", lambda: dataset.to_table(filter=condition).num_rows, beside)
        filters = [(name, comparison, value)]
        check(what, "pandas", lambda: len(table.to_pandas(filters=filters)), beside)
        query_builder = lambda: pa.table(query.execute(f"SELECT * {sql}").read_all()).num_rows
        check(what, "QueryBuilder", query_builder, above)
        of_polars = compare(pl.col(name), pl.lit(value, dtype=pl.from_arrow(pa.array([], kind)).dtype))
        check(what, "polars", lambda: pl.scan_delta(path).filter(of_polars).collect().height, above)
        scan = pl.scan_parquet(files, missing_columns="insert", schema=pl.scan_delta(path).collect_schema())
        check(what, "polars on files", lambda: scan.filter(of_polars).collect().height, above)
        check(what, "duckdb", lambda: len(connection.sql(f"SELECT * {sql}").fetchall()), above)
        of_files = sql.replace("FROM t", "FROM files")
        check(what, "duckdb on files", lambda: len(connection.sql(f"SELECT * {of_files}").fetchall()), above)


for field in schema:
    column = whole.column(field.name)
    nulls = column.null_count
    condition = pc.field(field.name).is_null()
    what = f"{field.name} IS NULL"
    sql = f"SELECT * FROM t WHERE {what}"
    check(what, "dataset", lambda: dataset.to_table(filter=condition).num_rows, nulls)
    check(what, "QueryBuilder", lambda: pa.table(query.execute(sql).read_all()).num_rows, nulls)
    is_null = pl.col(field.name).is_null()
    check(what, "polars", lambda: pl.scan_delta(path).filter(is_null).collect().height, nulls)
    check(what, "duckdb", lambda: len(connection.sql(sql).fetchall()), nulls)
    if pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
        continue
    values = column.drop_null().to_pylist()
    for value in sorted(set(map(key, values))):
        # DataFusion orders -0.0 before 0.0, the others do not.
        if not value[0] and value[1] != 0 or not isinstance(value[1], float):
            check_value(field.name, field.type, values, value[1])
    if pa.types.is_floating(field.type):
        nans = sum(key(v)[0] for v in values)
        as_nulls = pc.field(field.name).is_null(nan_is_null=True)
        what = f"{field.name} is null or NaN"
        check(what, "dataset", lambda: dataset.to_table(filter=as_nulls).num_rows, nulls + nans)
        for number in (100.0, math.inf, -1.5):
            check_value(field.name, field.type, values, number)
        if nans:
            sql = f"SELECT * FROM t WHERE {field.name} = CAST('NaN' AS DOUBLE)"
            what = f"{field.name} = NaN"
            check(what, "QueryBuilder", lambda: pa.table(query.execute(sql).read_all()).num_rows, nans)
            is_nan = pl.col(field.name).is_nan()
            check(what, "polars", lambda: pl.scan_delta(path).filter(is_nan).collect().height, nans)
            check(what, "duckdb", lambda: len(connection.sql(sql).fetchall()), nans)
