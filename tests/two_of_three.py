#!/usr/bin/env python3
"""Takes sealed data, wrapped keys and the token away in turn, and shows that what is left opens nothing.

A development daemon is filled with small (inline), large and customer-key objects and stopped. Then the directory is
copied without one of the three, a daemon is started over what is left, and everything is asked for. It has to answer
with an error, or not to start; in no case may a byte of plaintext come out. With all three everything opens: the
control that must succeed.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("STRONGROOM", str(Path("target/release/strongroom").resolve()))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "server/tests/s3"))

from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402

from daemon import Daemon  # noqa: E402

CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(range(32))}
PARTS = {
    "sealed data": ["data", "archive", "catalog"],
    "wrapped keys": ["keys"],
    "token": ["token"],
}


def main():
    objects = {"small": os.urandom(1000), "large": os.urandom(300_000)}
    daemon = Daemon()
    s3 = daemon.client()
    s3.create_bucket(Bucket="vault")
    for name, body in objects.items():
        s3.put_object(Bucket="vault", Key=name, Body=body)
        s3.put_object(Bucket="vault", Key=f"{name}-mine", Body=body, **CUSTOMER)
    daemon.stop()
    whole = Path(tempfile.mkdtemp(prefix="strongroom-whole-")) / "dev"
    shutil.copytree(daemon.dir, whole, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))

    failed = 0
    for missing, patterns in [("nothing", []), *PARTS.items()]:
        shutil.rmtree(daemon.dir)
        shutil.copytree(whole, daemon.dir, symlinks=True)
        removed = [path for pattern in patterns for path in daemon.dir.glob(pattern)]
        if patterns and not removed:
            print(f"two of three: nothing to remove for {missing}: {sorted(p.name for p in daemon.dir.iterdir())}")
            failed += 1
            continue
        for path in removed:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        opened = attempt(daemon, objects)
        expected = 2 * len(objects) if missing == "nothing" else 0
        verdict = "as it should" if opened == expected else "WRONG"
        failed += opened != expected
        print(f"two of three: without {missing}: {opened} of {2 * len(objects)} objects opened: {verdict}")
    daemon.close()
    shutil.rmtree(whole.parent)
    print(f"two of three: {len(PARTS) + 1 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def attempt(daemon, objects):
    """How many objects open over what is left."""
    try:
        daemon.start()
    except RuntimeError:
        return 0
    s3 = daemon.client()
    opened = 0
    for name, body in objects.items():
        for key, customer in ((name, {}), (f"{name}-mine", CUSTOMER)):
            try:
                got = s3.get_object(Bucket="vault", Key=key, **customer)["Body"].read()
            except (ClientError, BotoCoreError):
                continue
            opened += got == body
    daemon.stop()
    return opened


if __name__ == "__main__":
    main()
