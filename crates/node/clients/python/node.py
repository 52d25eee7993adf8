"""One real node process: started on a free port, read by its ready line, ended by its standard input."""

import json
import os
import re
import subprocess
import urllib.request
from threading import Thread

READY = re.compile(r"^ready name=\S+ http=(\S+) quic=\S+$")
DEADLINE_S = 30


class Node:
    """A node of `MATRYOSHKA_NODE`; as a context it has ended when the context has."""

    def __enter__(self):
        program = os.environ.get("MATRYOSHKA_NODE")
        if not program:
            raise SystemExit("MATRYOSHKA_NODE is not set: the path of the node's binary")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MATRYOSHKA_")}
        self.process = subprocess.Popen(
            [program, "--name", "python", "--http", "127.0.0.1:0", "--exit-with-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=kept,
            text=True,
        )
        self.log = []
        Thread(target=self._read_log, daemon=True).start()
        line = self.process.stdout.readline().strip()
        ready = READY.match(line)
        if not ready:
            self.process.kill()
            raise RuntimeError(f"not a ready line: {line!r}; {self.log}")
        self.http = ready[1]
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            status = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert status == 0, f"the node ended with {status}: {self.log}"

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip())

    @property
    def socket(self):
        """Where clients connect."""
        return f"ws://{self.http}/socket/websocket"

    def post(self, path, payload=None):
        """Posts to the node's HTTP paths, and gives the status."""
        body = b"" if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(f"http://{self.http}{path}", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.status
