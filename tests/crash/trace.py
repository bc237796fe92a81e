"""Lets a process run until the Nth system call that changes the disk, then kills it or makes that call fail.

This does what `strace --inject` does, and one thing it does not: it counts over all threads of the process. strace counts
for each thread apart, so with several threads writing there are calls that no `when=N` of it reaches.

Linux on x86-64 only.
"""

import ctypes
import errno
import os
import signal
import struct
import sys

# Names, numbers, and where the call says what it works on: a path argument, or a descriptor.
CALLS = {
    2: ("open-create", "path", 0),
    257: ("open-create", "path", 1),
    85: ("open-create", "path", 0),
    1: ("write", "fd", 0),
    18: ("write", "fd", 0),
    20: ("write", "fd", 0),
    296: ("write", "fd", 0),
    328: ("write", "fd", 0),
    76: ("ftruncate", "path", 0),
    77: ("ftruncate", "fd", 0),
    285: ("fallocate", "fd", 0),
    74: ("fsync", "fd", 0),
    75: ("fsync", "fd", 0),
    82: ("rename", "path", 0),
    264: ("rename", "path", 1),
    316: ("rename", "path", 1),
    86: ("link", "path", 0),
    265: ("link", "path", 1),
    87: ("unlink", "path", 0),
    263: ("unlink", "path", 1),
    84: ("unlink", "path", 0),
    83: ("mkdir", "path", 0),
    258: ("mkdir", "path", 1),
}
OPEN_FLAGS = {2: 1, 257: 2}
O_CREAT, O_TRUNC = 0o100, 0o1000
SENDTO = 44

SYSCALL, SEIZE, INTERRUPT, POKEUSER, GET_SYSCALL_INFO = 24, 0x4206, 0x4207, 6, 0x420E
TRACESYSGOOD, TRACEFORK, TRACECLONE, EXITKILL = 1, 2, 8, 0x100000
WALL = 0x40000000
RAX, RDX, ORIG_RAX = 10 * 8, 12 * 8, 15 * 8
ENTRY, EXIT = 1, 2

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request, pid, address=0, data=0):
    if libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Tracer:
    """Follows one process from a moment at which it waits; `root` is the directory whose changes count."""

    def __init__(self, pid, root, when=0, how=None):
        self.pid = pid
        self.root = os.path.realpath(root)
        self.when = when
        self.how = how
        self.seen = []  # "name path" of every call that counts
        self.sent = []  # len(self.seen) and whether the fault was in, at each message of the process
        self.hit = None
        self.pending = {}  # thread -> what its next exit from a call means
        self.status = None
        self.threads = set()
        for name in os.listdir(f"/proc/{pid}/task"):
            self.seize(int(name))

    def seize(self, thread):
        options = TRACESYSGOOD | TRACECLONE | TRACEFORK | EXITKILL
        ptrace(SEIZE, thread, 0, options)
        ptrace(INTERRUPT, thread)
        self.threads.add(thread)

    def run(self):
        """Until the process is gone; returns its wait status."""
        while True:
            try:
                thread, status = os.waitpid(-1, WALL)
            except ChildProcessError:
                return self.status
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                if thread == self.pid:
                    self.status = status
                    return status
                continue
            deliver = 0
            stopped_by = os.WSTOPSIG(status)
            try:
                if stopped_by == signal.SIGTRAP | 0x80:
                    self.call(thread)
                elif status >> 16 == 0 and stopped_by not in (signal.SIGTRAP, signal.SIGSTOP):
                    deliver = stopped_by
                ptrace(SYSCALL, thread, 0, deliver)
            except OSError as error:
                if error.errno != errno.ESRCH:  # killed under our hands
                    raise

    def call(self, thread):
        info = ctypes.create_string_buffer(88)
        ptrace(GET_SYSCALL_INFO, thread, 88, ctypes.addressof(info))
        stop = info.raw[0]
        if stop == ENTRY:
            number, *arguments = struct.unpack_from("<7Q", info.raw, 24)
            if number == SENDTO:
                self.sent.append((len(self.seen), self.hit is not None))
            elif number in CALLS:
                self.entry(thread, number, arguments)
        elif stop == EXIT and thread in self.pending:
            what = self.pending.pop(thread)
            if what == "kill":
                self.kill()
            else:
                ptrace(POKEUSER, thread, RAX, (-what) & 0xFFFFFFFFFFFFFFFF)

    def entry(self, thread, number, arguments):
        name, kind, position = CALLS[number]
        if number in OPEN_FLAGS and not arguments[OPEN_FLAGS[number]] & (O_CREAT | O_TRUNC):
            return
        path = self.path(thread, kind, arguments[position])
        if not path.startswith(self.root):
            return
        self.seen.append(f"{name} {path[len(self.root):]}")
        if len(self.seen) != self.when:
            return
        self.hit = (name, path)
        if self.how == "kill-before":
            self.kill()
        elif self.how == "kill-after":
            self.pending[thread] = "kill"
        elif self.how == "short":
            if name == "write" and number in (1, 18) and arguments[2] > 1:
                ptrace(POKEUSER, thread, RDX, arguments[2] // 2)
        elif self.how is not None:
            ptrace(POKEUSER, thread, ORIG_RAX, 0xFFFFFFFFFFFFFFFF)
            self.pending[thread] = getattr(errno, self.how)

    def path(self, thread, kind, value):
        try:
            if kind == "fd":
                return os.readlink(f"/proc/{thread}/fd/{ctypes.c_int(value & 0xFFFFFFFF).value}")
            with open(f"/proc/{thread}/mem", "rb") as memory:
                memory.seek(value)
                text = memory.read(4096) if value % 4096 == 0 else memory.read(4096 - value % 4096)
                if b"\0" not in text:
                    text += memory.read(4096)
                text = text.split(b"\0", 1)[0].decode(errors="replace")
        except OSError:
            return ""
        return text if text.startswith("/") else os.path.join(os.readlink(f"/proc/{thread}/cwd"), text)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


if sys.platform != "linux" or os.uname().machine != "x86_64":
    sys.exit("the crash test needs Linux on x86-64")
