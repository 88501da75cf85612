"""The jars of Kafka: fetched once into a cache of the user, each checked against the list in this folder."""

import hashlib
import logging
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from todoke.engines.model import EngineError

_FETCHERS = 8


@dataclass(frozen=True)
class Jar:
    """One line of the list: Maven coordinates and the SHA-256 of the file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name in the cache; the group keeps equal artifact names apart."""
        return f"{self.group}.{self.artifact}-{self.version}.jar"


def listed() -> list[Jar]:
    """The jars of the list, in its order."""
    lines = files("todoke.engines").joinpath("kafka-jars.txt").read_text(encoding="utf-8").splitlines()
    jars = []
    for line in lines:
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def cache_folder() -> Path:
    """Where downloads are kept: `TODOKE_CACHE`, else `todoke` in the user's cache folder."""
    if chosen := os.environ.get("TODOKE_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "todoke"


def class_path() -> str:
    """The class path of Kafka; missing or damaged jars are fetched first.

    Raises:
        EngineError: a jar cannot be had, or is not the one of the list.
    """
    folder = cache_folder() / "kafka-jars"
    folder.mkdir(parents=True, exist_ok=True)
    jars = listed()
    with ThreadPoolExecutor(_FETCHERS) as pool:
        right = list(pool.map(lambda jar: _is_right(folder / jar.file_name, jar), jars))
    missing = [jar for jar, good in zip(jars, right, strict=True) if not good]
    if missing:
        _fetch(missing, folder)
    return os.pathsep.join(str(folder / jar.file_name) for jar in jars)


def _is_right(file: Path, jar: Jar) -> bool:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _fetch(jars: list[Jar], folder: Path) -> None:
    from jgo.maven import MavenContext  # noqa: PLC0415 - heavy, and needed once in a machine's life

    logging.getLogger("jgo").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        context = MavenContext(repo_cache=Path(scratch))

        def fetch(jar: Jar) -> None:
            try:
                got = Path(context.create_dependency(f"{jar.group}:{jar.artifact}:{jar.version}").artifact.resolve())
            except Exception as error:
                raise EngineError(
                    f"The jar {jar.artifact} {jar.version} of Kafka cannot be fetched: {error}."
                ) from error
            if not _is_right(got, jar):
                raise EngineError(f"The jar {jar.artifact} {jar.version} that was fetched is not the one of the list.")
            got.replace(folder / jar.file_name)

        with ThreadPoolExecutor(_FETCHERS) as pool:
            list(pool.map(fetch, jars))
