"""Real database servers on a free port, for the time of a test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

USER, PASSWORD = "triplet", r"it's not a \secret"
_DATABASE = "metadata"
_MARIADB_PACKAGES = (
    "mariadb-server-core", "mariadb-client-core", "libaio1", "libnuma1", "liburing2",
)  # fmt: skip


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _unprivileged() -> dict[str, str]:
    """Servers refuse to run as root: arguments for subprocess to be somebody else."""
    return {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}


def _run(*command: str | Path, **kwargs: object) -> None:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}\n{done.stderr}")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Not pytest's: the servers run as another user, who cannot enter those."""
    folder = Path(tempfile.mkdtemp(prefix="database-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _server(
    command: list[str], port: int, folder: Path, environment: dict[str, str], stop: signal.Signals
) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=environment, **_unprivileged()
        )
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None:
                    raise RuntimeError((folder / "log").read_text())
                time.sleep(0.1)
            yield
        finally:
            # Of its own to each: on SIGTERM PostgreSQL would wait for its clients.
            process.send_signal(stop)
            process.wait(timeout=30)


def _postgresql_bin() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if all((folder / tool).exists() for tool in ("initdb", "postgres", "createdb")):
            return folder
    pytest.skip("no PostgreSQL server on this machine (Debian: apt-get install postgresql)")


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Starts an empty PostgreSQL and yields its metadata URL."""
    programs = _postgresql_bin()
    port = _free_port()
    with _folder() as folder:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGPASSWORD": PASSWORD}
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        _run(
            programs / "initdb", "--no-sync", "-D", folder / "data", "-U", USER,
            "--auth=scram-sha-256", "--pwfile", folder / "password", "--encoding=UTF8",
            env=environment, cwd=folder, **_unprivileged(),
        )  # fmt: skip
        command = [
            str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port),
            "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}",
        ]  # fmt: skip
        with _server(command, port, folder, environment, signal.SIGINT):
            create = [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", USER]
            for attempt in range(50):  # it listens before it lets anybody in
                try:
                    _run(*create, _DATABASE, env=environment)
                    break
                except RuntimeError:
                    if attempt == 49:
                        raise
                    time.sleep(0.1)
            yield f"postgresql://127.0.0.1:{port}/{_DATABASE}"


def _mariadb_root() -> Path:
    """`/` if MariaDB is installed, else a folder with its unpacked Debian packages."""
    if all(Path("/usr", p).exists() for p in ("sbin/mariadbd", "bin/mariadb-install-db")):
        return Path("/")
    if missing := [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]:
        pytest.skip(f"no MariaDB server on this machine, and no {missing[0]} to fetch one")
    root = Path(tempfile.gettempdir(), f"mariadb-{os.getuid()}")
    if not (root / "complete").exists():
        debs = root / "debs"
        debs.mkdir(parents=True, exist_ok=True)
        try:
            _run("apt-get", "-q", "download", *_MARIADB_PACKAGES, cwd=debs)
            for deb in debs.glob("*.deb"):
                _run("dpkg-deb", "-x", deb, root)
        except RuntimeError as error:
            pytest.skip(f"no MariaDB server on this machine, and it cannot be fetched: {error}")
        (root / "complete").touch()
    return root


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """Starts an empty MariaDB and yields its metadata URL."""
    root = _mariadb_root()
    port = _free_port()
    libraries = sorted({str(path.parent) for path in (root / "usr/lib").glob("*/lib*.so.*")})
    environment = {"PATH": f"{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}"}
    if root != Path("/"):
        environment["LD_LIBRARY_PATH"] = ":".join(libraries)
    with _folder() as folder:
        setup = folder / "setup.sql"
        escaped = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        setup.write_text(
            f"CREATE DATABASE {_DATABASE};\n"
            f"CREATE USER '{USER}'@'%' IDENTIFIED VIA mysql_native_password "
            f"USING PASSWORD('{escaped}');\n"
            f"GRANT ALL ON {_DATABASE}.* TO '{USER}'@'%';\n"
        )
        _run(
            root / "usr/bin/mariadb-install-db", "--no-defaults", f"--basedir={root}/usr",
            f"--datadir={folder}/data", "--auth-root-authentication-method=normal",
            "--skip-test-db", env=environment, cwd=folder, **_unprivileged(),
        )  # fmt: skip
        command = [
            str(root / "usr/sbin/mariadbd"), "--no-defaults", f"--basedir={root}/usr",
            f"--datadir={folder}/data", f"--port={port}", "--bind-address=127.0.0.1",
            f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--init-file={setup}",
            "--skip-name-resolve",
        ]  # fmt: skip
        with _server(command, port, folder, environment, signal.SIGTERM):
            yield f"mysql://127.0.0.1:{port}/{_DATABASE}"
