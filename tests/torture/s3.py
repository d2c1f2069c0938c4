"""An S3 server of our own, read from and written to, and a connection to it that breaks."""

from __future__ import annotations

import copy
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from torture import formats
from torture.child import in_child
from torture.count import Count
from torture.job import Job
from torture.proxy import Proxy, cut_and_run
from torture.target import Target, count_each, count_whole, rows_at
from torture.world import World

__all__ = ["STORE", "S3File", "S3Folder", "S3Source", "connection_cut", "cut_off"]


class _Store:
    """The server, started when it is first asked for; forked workers share it."""

    port = 0

    def start(self) -> None:
        """Start it in a process that ends with this one."""
        if self.port:
            return
        _remember_models()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),
        )
        for _ in range(300):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise RuntimeError("the S3 server does not start")

    def client(self) -> Any:
        """A client of another library than the one that the jobs use."""
        import boto3

        return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}")


STORE = _Store()


def _remember_models() -> None:
    """Let forked processes have what the libraries of S3 else parse anew in each of them."""
    from botocore.loaders import JSONFileLoader

    known: dict[str, Any] = {}
    load = JSONFileLoader.load_file

    def remembered(self: Any, path: str) -> Any:
        if path not in known:
            known[path] = load(self, path)
        return copy.copy(known[path])

    JSONFileLoader.load_file = remembered
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "somebody-else")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "somebody-else")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    STORE.client()


class _S3(Target):
    """What a bucket holds at the end."""

    def make(self, world: World) -> None:
        world.bucket = f"b{uuid.uuid4().hex}"
        os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "somebody-else"
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
        port = world.proxy.port if world.proxy else STORE.port
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        in_child(lambda: STORE.client().create_bucket(Bucket=world.bucket) and None)

    def keys(self, world: World) -> list[str]:
        def look() -> list[str]:
            client = STORE.client()
            found = client.list_objects_v2(Bucket=world.bucket).get("Contents", [])
            parts = client.list_multipart_uploads(Bucket=world.bucket).get("Uploads", [])
            return [*(one["Key"] for one in found), *(f"upload of {p['Key']}" for p in parts)]

        return list(in_child(look)["found"])

    def wanted_keys(self, world: World) -> set[str]:
        raise NotImplementedError

    def found(self, world: World, key: str) -> np.ndarray | None:
        """The rows of an object, slowly."""

        def look() -> Any:
            with tempfile.NamedTemporaryFile(dir=world.place, suffix=Path(key).suffix) as file:
                STORE.client().download_fileobj(world.bucket, key, file)
                file.flush()
                return formats.read(Path(file.name)).tolist()

        found = in_child(look)
        return None if "error" in found else np.array(found["found"], float)

    def products(self, world: World) -> set[str]:
        return set()

    def strays(self, world: World, before: set[str]) -> list[str]:
        there = {key for key in self.keys(world) if not key.endswith("/_isotropy.json")}
        return [*super().strays(world, before), *sorted(there - self.wanted_keys(world))]


class S3File(_S3):
    """One object."""

    name = "s3 file"

    def make(self, world: World) -> None:
        super().make(world)
        world.make_source(str(world.rng.choice(list(formats.READABLE))))
        self.suffix = ".npy" if world.rng.random() < 0.5 else ".parquet"

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        output = f"s3://{world.bucket}/rows{self.suffix}"
        return ["apply", str(corrector or world.corrector), str(world.source), "-o", output]

    def count(self, world: World) -> Count | str:
        return count_whole(world, lambda: self.found(world, f"rows{self.suffix}"))

    def wanted_keys(self, world: World) -> set[str]:
        return {f"rows{self.suffix}"}


class S3Folder(_S3):
    """An object for each file that is read."""

    name = "s3 folder"

    def make(self, world: World) -> None:
        super().make(world)
        world.make_source()

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        output = f"s3://{world.bucket}/all/"
        return ["apply", str(corrector or world.corrector), str(world.source), "-o", output]

    def count(self, world: World) -> Count | str:
        return count_each(world, lambda name: self.found(world, f"all/{name}"))

    def wanted_keys(self, world: World) -> set[str]:
        return {f"all/{path.name}" for path in world.files()}


class S3Source(_S3):
    """Objects that are read, into a file here."""

    name = "s3 source"

    def make(self, world: World) -> None:
        super().make(world)
        world.make_source()
        self.upload(world)

    def upload(self, world: World) -> None:
        def send() -> None:
            for path in world.files():
                STORE.client().upload_file(str(path), world.bucket, f"rows/{path.name}")

        in_child(send)

    def command(self, world: World, corrector: Path | None = None) -> list[str]:
        source, output = f"s3://{world.bucket}/rows/", str(world.out / "rows.npy")
        return ["apply", str(corrector or world.corrector), source, "-o", output]

    def count(self, world: World) -> Count | str:
        return count_whole(world, lambda: rows_at(world.out / "rows.npy"))

    def products(self, world: World) -> set[str]:
        return {"out/rows.npy"}

    def wanted_keys(self, world: World) -> set[str]:
        return {f"rows/{path.name}" for path in world.files()}


def cut_off(world: World) -> None:
    """Reach the server through a proxy of ours."""
    world.proxy = Proxy(("127.0.0.1", STORE.port))
    world.cleanups.append(world.proxy.close)


def connection_cut(job: Job) -> None:
    """All connections are cut after so many bytes, then hold again."""
    cut_and_run(job, 2)


def replaced_between(job: Job) -> None:
    """After a kill: other rows take the place of the objects that are read."""
    from torture.faults import replace_one

    job.killed()
    replace_one(job)
    assert isinstance(job.target, S3Source)
    job.target.upload(job.world)
