"""A development daemon for one test module: started on a free port, stopped at the end."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import boto3
from botocore.config import Config

STRONGROOM = os.environ["STRONGROOM"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Daemon:
    def __init__(self, *arguments):
        self.root = Path(tempfile.mkdtemp(prefix="strongroom-test-"))
        self.dir = self.root / "dev"
        self.port = free_port()
        self.arguments = arguments
        self.process = None
        self.start()

    def start(self):
        env_file = self.dir / "client.env"
        env_file.unlink(missing_ok=True)
        self.log = open(self.root / "log", "ab")
        self.process = subprocess.Popen(
            [STRONGROOM, "dev", "--dir", self.dir, "--listen", f"127.0.0.1:{self.port}", *self.arguments],
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + 60
        while not env_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the daemon did not start:\n" + (self.root / "log").read_text())
            time.sleep(0.05)
        self.env = dict(
            line.split("=", 1) for line in env_file.read_text().splitlines() if "=" in line and not line.startswith("#")
        )
        self.env = {name.removeprefix("export ").strip(): value.strip("'\"") for name, value in self.env.items()}

    def configure(self, change):
        """Starts again with the settings that `change` makes of the present text."""
        self.stop()
        settings = self.dir / "strongroom.toml"
        text = settings.read_text()
        changed = change(text)
        assert changed != text, "nothing changed"
        settings.write_text(changed)
        self.start()

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        code = self.process.wait(timeout=60)
        self.log.close()
        return code

    def close(self):
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    def log_text(self):
        return (self.root / "log").read_text(errors="replace")

    def client(self, **config):
        # Retries would hide what the daemon answers.
        config = Config(
            retries={"max_attempts": 1, "mode": "standard"}, s3={"addressing_style": "path"}, read_timeout=60, **config
        )
        return boto3.client(
            "s3",
            endpoint_url=self.env["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_REGION"],
            verify=self.env["AWS_CA_BUNDLE"],
            config=config,
        )
