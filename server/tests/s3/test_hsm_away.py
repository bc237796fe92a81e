"""The token goes away and comes back: cached bucket keys go on for their time, all else fails closed."""

import os
import time
import unittest

import raw
from daemon import Daemon

CACHE_SECONDS = 3
FAILS_WITHIN, RECOVERS_WITHIN = 2, 5
CANARY = b"canary-" + os.urandom(24).hex().encode()


def setUpModule():
    global daemon
    daemon = Daemon()
    daemon.stop()
    with (daemon.dir / "strongroom.toml").open("a") as settings:
        settings.write(f"\n[keys]\ncache_seconds = {CACHE_SECONDS}\n")
    daemon.start()


def tearDownModule():
    daemon.close()


def timed(*arguments):
    started = time.monotonic()
    reply = raw.request(daemon, *arguments)
    return reply, time.monotonic() - started


class HsmAway(unittest.TestCase):
    def setUp(self):
        self.tokens = daemon.dir / "token" / "tokens"
        self.aside = daemon.dir / "token" / "aside"
        self.addCleanup(self.back)

    def away(self):
        self.tokens.rename(self.aside)

    def back(self):
        if self.aside.exists():
            self.aside.rename(self.tokens)

    def test_fails_closed_and_recovers_alone(self):
        for bucket in ("warm", "cold"):
            self.assertEqual(raw.request(daemon, "PUT", f"/{bucket}").status, 200)
            for name, body in (("small", b"x" * 100), ("large", b"y" * 100_000)):
                self.assertEqual(raw.request(daemon, "PUT", f"/{bucket}/{name}", {}, body).status, 200)
        time.sleep(CACHE_SECONDS + 1)
        self.assertEqual(raw.request(daemon, "GET", "/warm/small").status, 200)
        warmed = time.monotonic()
        self.away()

        # The key that is cached serves for its time.
        reply, _ = timed("GET", "/warm/large")
        self.assertEqual((reply.status, len(reply.body)), (200, 100_000))
        reply, _ = timed("PUT", "/warm/while-cached", {}, b"z" * 100)
        self.assertEqual(reply.status, 200)
        self.assertLess(time.monotonic() - warmed, CACHE_SECONDS, "the machine is too slow for this test")
        # One that is not cached cannot be had, and nothing is stored without it.
        for request in self.requests("cold"):
            self.assert_refused(request)
        # Then the cached one is over as well.
        time.sleep(max(0, warmed + CACHE_SECONDS + 1 - time.monotonic()))
        for request in self.requests("warm"):
            self.assert_refused(request)
        self.assert_nothing_written()

        self.back()
        back = time.monotonic()
        # That a key could not be had is remembered for a second, key by key.
        for request in (("GET", "/cold/large"), ("PUT", "/warm/after", {}, b"after")):
            while (reply := raw.request(daemon, *request)).status != 200:
                self.assertEqual(reply.status, 503)
                self.assertLess(time.monotonic() - back, RECOVERS_WITHIN, "no recovery")
                time.sleep(0.05)
            print(f"{request[:2]} {time.monotonic() - back:.2f} s after the token came back", flush=True)
        self.assertEqual(raw.request(daemon, "GET", "/warm/after").body, b"after")
        self.assertEqual(raw.request(daemon, "GET", "/warm/while-cached").body, b"z" * 100)
        self.assertEqual(raw.request(daemon, "GET", "/warm/refused-small").status, 404)
        self.assertEqual(raw.request(daemon, "PUT", "/new-bucket").status, 200)

    def requests(self, bucket):
        return [
            ("GET", f"/{bucket}/small"),
            ("GET", f"/{bucket}/large"),
            ("PUT", f"/{bucket}/refused-small", {}, CANARY),
            # Above what lies in the catalog, below what the sockets take in before the answer comes.
            ("PUT", f"/{bucket}/refused-large", {}, CANARY * 400),
        ]

    def assert_refused(self, request):
        reply, took = timed(*request)
        self.assertEqual(reply.status, 503, (request[:2], reply.body[:200]))
        self.assertEqual(reply.error()["Code"], "ServiceUnavailable")
        self.assertNotIn(b"x" * 100, reply.body)
        self.assertLess(took, FAILS_WITHIN, request[:2])
        print(f"{request[0]} {request[1]}: {reply.status} after {took:.2f} s", flush=True)

    def assert_nothing_written(self):
        for path in daemon.dir.rglob("*"):
            if path.is_file():
                self.assertNotIn(CANARY, path.read_bytes(), path)


if __name__ == "__main__":
    unittest.main()
