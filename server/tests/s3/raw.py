"""Signed requests with exactly the headers a test names: boto3 adds and repairs some."""

import http.client
import ssl
import urllib.parse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


@dataclass
class Reply:
    status: int
    headers: dict
    body: bytes

    def error(self):
        """The elements of an error body."""
        return {child.tag: child.text for child in ElementTree.fromstring(self.body)}


class Calling(S3SigV4Auth):
    """Signs the body as what `payload` calls it, and not its digest."""

    def __init__(self, payload, *arguments):
        super().__init__(*arguments)
        self.called = payload

    def payload(self, request):
        return self.called or super().payload(request)


def request(daemon, method, path, headers=None, body=b"", query=None, sign=True, sent=None, user=None, payload=None):
    """Signs for `body`, as `user` or the first one, and sends `sent` in its place if that is given."""
    url = daemon.env["AWS_ENDPOINT_URL"] + urllib.parse.quote(path)
    if query:
        url += "?" + urllib.parse.urlencode(query)
    signed = AWSRequest(method=method, url=url, data=body, headers=dict(headers or {}))
    signed.context["payload_signing_enabled"] = True
    if sign:
        Calling(payload, _credentials(daemon, user), "s3", daemon.env["AWS_REGION"]).add_auth(signed)
    return send(daemon, method, url, dict(signed.headers.items()), body if sent is None else sent)


def presign(daemon, method, path, headers=None, seconds=60, query=None, service="s3"):
    url = daemon.env["AWS_ENDPOINT_URL"] + urllib.parse.quote(path)
    if query:
        url += "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
    request = AWSRequest(method=method, url=url, headers=dict(headers or {}))
    S3SigV4QueryAuth(_credentials(daemon), service, daemon.env["AWS_REGION"], expires=seconds).add_auth(request)
    return request.url


def send(daemon, method, url, headers, body=b""):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=daemon.env["AWS_CA_BUNDLE"])
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context, timeout=60)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request(method, target, body=body, headers=headers)
    response = connection.getresponse()
    reply = Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    connection.close()
    return reply


def _credentials(daemon, user=None):
    if user:
        return Credentials(user.access_key, user.secret_key)
    return Credentials(daemon.env["AWS_ACCESS_KEY_ID"], daemon.env["AWS_SECRET_ACCESS_KEY"])
