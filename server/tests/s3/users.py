"""Further users of a development daemon, and requests in their names or in nobody's."""

import os
import secrets
import time

import boto3
from botocore import UNSIGNED
from botocore.config import Config


class User:
    """A user as the users file describes it; `more` are further lines of its table."""

    def __init__(self, name, more=""):
        self.name = name
        self.access_key = "AK" + secrets.token_hex(8).upper()
        self.secret_key = secrets.token_hex(20)
        self.more = more

    def table(self):
        return (
            f'[[user]]\nname = "{self.name}"\naccess_key = "{self.access_key}"\n'
            f'secret_key = "{self.secret_key}"\n{self.more}\n'
        )


def add(daemon, *users):
    """Writes the users behind the first one, and waits until the daemon knows them."""
    file = daemon.dir / "users.toml"
    first = file.read_text().split("[[user]]")[1]
    replace(daemon, "[[user]]" + first + "".join(user.table() for user in users))


def replace(daemon, text):
    """Puts a users file in the place of the last, and waits until it was read or refused."""
    seen = daemon.log_text().count("the users file")
    file = daemon.dir / "users.toml"
    new = file.with_suffix(".new")
    new.write_text(text)
    os.chmod(new, 0o600)
    os.replace(new, file)
    deadline = time.monotonic() + 20
    while daemon.log_text().count("the users file") == seen:
        if time.monotonic() > deadline:
            raise RuntimeError("the users file was not read again:\n" + daemon.log_text()[-2000:])
        time.sleep(0.05)


def client(daemon, user=None):
    """A client of a user, or of nobody."""
    config = {"retries": {"max_attempts": 1, "mode": "standard"}, "s3": {"addressing_style": "path"}}
    keys = {}
    if user is None:
        config["signature_version"] = UNSIGNED
    else:
        keys = {"aws_access_key_id": user.access_key, "aws_secret_access_key": user.secret_key}
    return boto3.client(
        "s3",
        endpoint_url=daemon.env["AWS_ENDPOINT_URL"],
        region_name=daemon.env["AWS_REGION"],
        verify=daemon.env["AWS_CA_BUNDLE"],
        config=Config(**config),
        **keys,
    )
