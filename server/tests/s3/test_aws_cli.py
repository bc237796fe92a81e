"""The aws command line, unchanged, with the environment that the daemon writes."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from daemon import Daemon


def setUpModule():
    global daemon, work
    daemon = Daemon()
    work = Path(tempfile.mkdtemp(prefix="strongroom-cli-"))


def tearDownModule():
    daemon.close()


def aws(*arguments, ok=True, stdin=None):
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | daemon.env
    done = subprocess.run(["aws", *map(str, arguments)], env=env, cwd=work, capture_output=True, input=stdin)
    if ok and done.returncode != 0:
        raise AssertionError(f"aws {arguments}: {done.stderr.decode()}")
    return done


class Cli(unittest.TestCase):
    def test_a_day_with_the_command_line(self):
        aws("s3", "mb", "s3://day")
        (work / "note").write_bytes(b"meet me at noon\n")
        (work / "key").write_bytes(os.urandom(32))
        (work / "new").write_bytes(os.urandom(32))
        aws("s3", "cp", "note", "s3://day/note")
        self.assertEqual(aws("s3", "cp", "s3://day/note", "-").stdout, b"meet me at noon\n")
        self.assertIn(b"AES256", aws("s3api", "head-object", "--bucket", "day", "--key", "note").stdout)

        mine = ["--sse-c", "AES256", "--sse-c-key", "fileb://key"]
        aws("s3", "cp", "note", "s3://day/mine", *mine)
        self.assertEqual(aws("s3", "cp", "s3://day/mine", "-", *mine).stdout, b"meet me at noon\n")
        self.assertNotEqual(aws("s3", "cp", "s3://day/mine", "-", ok=False).returncode, 0)
        aws(
            "s3", "cp", "s3://day/mine", "s3://day/mine",
            "--sse-c-copy-source", "AES256", "--sse-c-copy-source-key", "fileb://key",
            "--sse-c", "AES256", "--sse-c-key", "fileb://new",
        )
        self.assertNotEqual(aws("s3", "cp", "s3://day/mine", "-", *mine, ok=False).returncode, 0)

        for n in range(3):
            (work / "tree" / f"d{n}").mkdir(parents=True)
            (work / "tree" / f"d{n}" / "f").write_bytes(bytes([n]) * n * 70_000)
        aws("s3", "sync", "tree", "s3://day/tree")
        aws("s3", "sync", "s3://day/tree", "back")
        for n in range(3):
            self.assertEqual((work / "back" / f"d{n}" / "f").read_bytes(), bytes([n]) * n * 70_000)
        self.assertIn(b"PRE tree/", aws("s3", "ls", "s3://day/").stdout)

        aws("s3", "cp", "-", "s3://day/piped", stdin=b"from a pipe")
        self.assertEqual(aws("s3", "cp", "s3://day/piped", "-").stdout, b"from a pipe")
        url = aws("s3", "presign", "s3://day/note").stdout.decode().strip()
        curl = subprocess.run(["curl", "-sf", "--cacert", daemon.env["AWS_CA_BUNDLE"], url], capture_output=True)
        self.assertEqual(curl.stdout, b"meet me at noon\n")
        aws("s3", "mv", "s3://day/note", "s3://day/moved")
        aws("s3", "rb", "s3://day", "--force")


class Curl(unittest.TestCase):
    def test_curl_signs_and_round_trips(self):
        aws("s3", "mb", "s3://curled")
        (work / "up").write_bytes(os.urandom(100_000))
        base = [
            "curl", "-sSf", "--aws-sigv4", f"aws:amz:{daemon.env['AWS_REGION']}:s3",
            "--user", f"{daemon.env['AWS_ACCESS_KEY_ID']}:{daemon.env['AWS_SECRET_ACCESS_KEY']}",
            "--cacert", daemon.env["AWS_CA_BUNDLE"],
            # Sent by newer releases of curl by themselves.
            "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
        ]
        url = daemon.env["AWS_ENDPOINT_URL"] + "/curled/object"
        subprocess.run([*base, "-T", work / "up", url], check=True)
        got = subprocess.run([*base, url], check=True, capture_output=True).stdout
        self.assertEqual(got, (work / "up").read_bytes())


if __name__ == "__main__":
    unittest.main()
