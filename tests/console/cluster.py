"""A private `keyhelm dev` cluster: real units, a real coordinator, a real key storage."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

INSTANCE = "embedded"
KEYS = 3000
#: Longest that a test waits for anything, in seconds.
PATIENCE_S = 30


def wait_for(what, look, patience_s=PATIENCE_S):
    """The first answer of `look` that says something; asked often, while patience lasts."""
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {patience_s} s still no {what}: {found!r}")
        time.sleep(0.02)


class Cluster:
    """Runs in `folder`, on free ports that it keeps over a restart."""

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.ports = (0, 0)
        self.process = None
        self.passphrase = self.folder / "passphrase"
        self.signed = ["--passphrase-file", str(self.passphrase)]
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "CLOUDTKEFILES": str(self.folder / "sigkeys"),
        }

    def start(self):
        coordinator, gateway = self.ports
        out = self.folder / "dev.log"
        with out.open("w") as log:
            self.process = subprocess.Popen(
                [
                    self.binary,
                    "dev",
                    "--data",
                    self.data,
                    "--coordinator-port",
                    str(coordinator),
                    "--gateway-port",
                    str(gateway),
                ],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def ports():
            if self.process.poll() is not None:
                raise AssertionError(f"keyhelm dev has ended: {out.read_text()}")
            return re.findall(r"http://127\.0\.0\.1:(\d+)", out.read_text())[:2]

        found = wait_for("cluster", lambda: found if len(found := ports()) == 2 else None)
        self.ports = tuple(map(int, found))
        self.server = f"http://127.0.0.1:{self.ports[0]}"

    def kill(self):
        """As a crash would: nothing is finished first."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def run(self, *arguments):
        """The command line, which has to succeed."""
        done = subprocess.run(
            [self.binary, *arguments],
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"keyhelm {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def found(self):
        """Names the members, makes the first master key, a standing order, and keys."""
        self.passphrase.write_text("of a test\n")
        self.run("sigkey-add", "alice", *self.signed)
        self.run("auto-init", "--trust-first-use", "--standing-order", "0s", *self.signed)
        self.run("keys", "create", "--count", str(KEYS))

    def token(
        self, role="Manager", instances=INSTANCE, valid_for="10m", key=None, subject="alice"
    ):
        key = key or self.data / "issuer.pem"
        return self.run(
            "token",
            "issue",
            "--key",
            str(key),
            "--subject",
            subject,
            "--role",
            role,
            "--instances",
            instances,
            "--valid-for",
            valid_for,
        ).strip()

    def ask(self, path, body=None):
        """The coordinator's answer with its headers, to be closed."""
        token = (self.data / "token").read_text().strip()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.server}/v1/{path}", data, headers)
        return urllib.request.urlopen(request, timeout=PATIENCE_S)

    def get(self, path):
        """What the coordinator answers, for comparison with what is shown."""
        with self.ask(path) as answer:
            return json.load(answer)

    def post(self, path, body):
        with self.ask(path, body) as answer:
            return json.load(answer)

    def rotations(self):
        return self.get(f"instances/{INSTANCE}/rotations")

    def current(self):
        """The pattern that every current register holds."""
        units = self.get(f"instances/{INSTANCE}/units")["units"]
        patterns = {unit["state"]["registers"]["current"] for unit in units}
        assert len(patterns) == 1, patterns
        return patterns.pop()

    def await_phase(self, rotation, phase):
        def look():
            view = self.get(f"rotations/{rotation}")
            return view if view["phase"] == phase else None

        return wait_for(f"phase {phase}", look)

    @contextmanager
    def holding(self):
        """A rotation that is done but for its hold, which is ended at last; and what is told of it."""
        hold = ["--hold-before-clear", "1h"]
        told = self.run("auto-mk-rotate", "--yes", *hold, *self.signed)
        rotation = self.rotations()[0]["rotation"]
        try:
            yield rotation, told
        finally:
            self.run("hold-end", rotation, "--yes", *self.signed)

    @contextmanager
    def held(self):
        """Somebody holds the key storage, as a backup might: no generation is opened until then."""
        with Hold(self.data / "keystore.db") as hold:
            yield hold


class Hold:
    """SQLite's one place for writers, taken."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)

    def __enter__(self):
        self.connection.execute("BEGIN IMMEDIATE")
        return self

    def release(self):
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def __exit__(self, *_):
        self.release()
        self.connection.close()
