"""A process's log: kept small while the process runs, and never the reason for a failure."""

import json
import subprocess
import sys
from pathlib import Path

from todoke.relay.logfile import LOGS_KEPT

LINE = json.dumps({"event": "x" * 85})
BYTES_MAX = 10_000

MANY = """
import sys
from pathlib import Path
from todoke.relay.logfile import LogSink

sink = LogSink.to(Path(sys.argv[1]), bytes_max=int(sys.argv[2]))
for number in range(1000):
    sink.write(sys.argv[3] + "\\n")
"""

FOLLOWS = """
import os, sys
from pathlib import Path
from todoke.relay.logfile import LogSink

sink = LogSink.to(Path(sys.argv[1]), bytes_max=500)
for number in range(20):
    sink.write("x" * 100)
os.write(2, b"last words\\n")
"""

FILLS = """
import resource, sys
from pathlib import Path
from todoke.relay.logfile import LogSink

sink = LogSink.to(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for number in range(50):
    sink.write(f'{{"event": "line {number}", "more": "' + "x" * 70 + '"}\\n')
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.write('{"event": "room again"}\\n')
"""


def test_a_log_is_put_aside_by_size_while_the_process_runs(tmp_path: Path) -> None:
    file = tmp_path / "web.log"
    subprocess.run([sys.executable, "-c", MANY, str(file), str(BYTES_MAX), LINE], check=True)
    files = sorted(tmp_path.iterdir())
    assert [each.name for each in files] == ["web.log", *(f"web.log.{number + 1}" for number in range(LOGS_KEPT))]
    assert all(each.stat().st_size <= BYTES_MAX for each in files)
    assert {line for each in files for line in each.read_text().splitlines()} == {LINE}


def test_what_stands_on_standard_error_follows_into_the_new_file(tmp_path: Path) -> None:
    file = tmp_path / "web.log"
    with file.open("ab") as log:
        subprocess.run([sys.executable, "-c", FOLLOWS, str(file)], stdout=log, stderr=log, check=True)
    assert file.read_text().endswith("last words\n")
    assert len(list(tmp_path.iterdir())) == LOGS_KEPT + 1


def test_lines_that_find_no_room_are_counted_and_the_next_one_says_how_many(tmp_path: Path) -> None:
    """A limit on the file's size stands for the full disk: writing fails in the same way, half of a line included."""
    file = tmp_path / "web.log"
    subprocess.run([sys.executable, "-c", FILLS, str(file)], check=True)
    written = file.read_text().splitlines()
    whole = [line for line in written if line.startswith('{"event": "line') and line.endswith("}")]
    lost = next(json.loads(line[line.index('{"event": "log_lines_lost"') :]) for line in written if "lost" in line)
    assert lost["lines"] - (50 - len(whole)) in (0, 1)  # the one cut in half is completed when there is room
    assert 0 < len(whole) < 50
    assert written[-1] == '{"event": "room again"}'
