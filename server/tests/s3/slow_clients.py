"""N uploads and N downloads at one byte a second, until standard input ends.

Run as a process of its own: `python3 slow_clients.py HOST PORT CA` with one request head in base64 a
line on standard input and an empty line at the end; says `ready` when all of them stream.
"""

import base64
import select
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor


class Slow:
    def __init__(self, context, address, head):
        self.uploads = head.startswith(b"PUT")
        plain = socket.socket()
        # Little room, or the kernel would take a whole object off the daemon's hands.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(60)
        plain.connect(address)
        self.socket = context.wrap_socket(plain, server_hostname=address[0])
        self.socket.sendall(head)
        if not self.uploads:
            # Below TLS from here on: a record must be whole before TLS gives out a byte of it.
            self.tick()
        self.socket.settimeout(0)
        # Unlike `select`, good for any number of files.
        self.poll = select.poll()
        self.poll.register(self.socket, select.POLLIN)

    def tick(self):
        """False if the daemon ended it."""
        try:
            if self.uploads:
                self.socket.sendall(b"x")
                # An answer before the body is whole is a refusal.
                return not self.poll.poll(0)
            return socket.socket.recv(self.socket, 1) != b""
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            return False


def main():
    address, ca = (sys.argv[1], int(sys.argv[2])), sys.argv[3]
    context = ssl.create_default_context(cafile=ca)
    heads = []
    while line := sys.stdin.readline().strip():
        heads.append(base64.b64decode(line))
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda head: Slow(context, address, head), heads))
    print("ready", flush=True)
    ended, turn, due = set(), 0, time.monotonic()
    while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
        # Spread over the second, as independent clients are.
        for client in clients[turn % STEPS :: STEPS]:
            if client not in ended and not client.tick():
                ended.add(client)
        turn += 1
        due = max(due, time.monotonic() - 1) + 1 / STEPS
    print(len(clients) - len(ended), flush=True)


STEPS = 20

if __name__ == "__main__":
    main()
