"""Forms as browsers and other clients post them."""

import base64
import datetime
import hashlib
import hmac
import json
import os

import raw


def encode(fields, body, filename="file.txt", named=False, after=""):
    """A form with these fields, a file, and what comes behind it. Some clients give every field a file name."""
    boundary = os.urandom(16).hex()
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        + (f'; filename="{name}"' if named else "")
        + f"\r\n\r\n{value}\r\n"
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: text/plain\r\n\r\n'
    text = "".join(parts).encode() + head.encode() + body + f"\r\n--{boundary}".encode()
    if after:
        text += f'\r\nContent-Disposition: form-data; name="{after}"\r\n\r\nlate\r\n--{boundary}'.encode()
    return text + b"--\r\n", f"multipart/form-data; boundary={boundary}"


def post(daemon, bucket, fields, body=b"content", headers=None, path="", **more):
    text, kind = encode(fields, body, **more)
    url = f"{daemon.env['AWS_ENDPOINT_URL']}/{bucket}{path}"
    return raw.send(daemon, "POST", url, {"content-type": kind} | (headers or {}), text)


def until(seconds=6000, form="%Y-%m-%dT%H:%M:%SZ"):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.strftime(form)


def encoded(document):
    return base64.b64encode(json.dumps(document).encode()).decode()


def policy(*conditions, **more):
    return encoded({"expiration": until(), "conditions": list(conditions)} | more)


def sign_2(daemon, text):
    """The fields of a policy signed by version 2."""
    secret = daemon.env["AWS_SECRET_ACCESS_KEY"].encode()
    signature = base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha1).digest()).decode()
    return {"AWSAccessKeyId": daemon.env["AWS_ACCESS_KEY_ID"], "signature": signature, "policy": text}


def sign_4(daemon, *conditions, service="s3", day=None, **more):
    """The fields of a policy signed by version 4, which names the fields of the signature itself."""
    date = until(0, "%Y%m%dT%H%M%SZ")
    day, region = day or date[:8], daemon.env["AWS_REGION"]
    scope = f"{day}/{region}/{service}/aws4_request"
    fields = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{daemon.env['AWS_ACCESS_KEY_ID']}/{scope}",
        "x-amz-date": date,
    }
    text = policy(*conditions, *({name: value} for name, value in fields.items()), **more)
    key = ("AWS4" + daemon.env["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return fields | {"policy": text, "x-amz-signature": key.hex()}
