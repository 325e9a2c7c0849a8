#!/usr/bin/env python3
"""A link of some length and width, of TUN devices and a queue with a clock: for root on Linux.

  unshare --net python3 link.py RTT_MS MBIT DOOR -- COMMAND...

Made in the network namespace that it is started in and in one more, which has no name; both are gone with this process.
COMMAND runs on the near side with LINK_PORT set: a connection to that port of its own 127.0.0.1 goes over the link, and comes
out of it as one to 127.0.0.1 at the port whose number stands in the file DOOR. What the queue cannot hold is lost, as on any
line: it holds 200 ms, and TCP finds that out by itself."""
import collections
import ctypes
import fcntl
import os
import queue
import select
import socket
import struct
import subprocess
import sys
import threading
import time

NEAR, FAR, PORT = "192.0.2.1", "192.0.2.2", 2222
QUEUE_SECONDS = 0.2
NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def tun(address):
    """A TUN device in the namespace of this thread."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"tun0", IFF_TUN | IFF_NO_PI))
    ip("link", "set", "lo", "up")
    ip("addr", "add", address + "/24", "dev", "tun0")
    ip("link", "set", "tun0", "up", "txqueuelen", "1000")
    return device


def far_side(told, accepted):
    """In a namespace of its own: the end of the link, and who answers there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWNET):
        told.put(OSError(ctypes.get_errno(), "unshare"))
        return
    device = tun(FAR)
    listener = socket.create_server((FAR, PORT), backlog=64)
    told.put(device)
    while True:
        accepted.put(listener.accept()[0])


def carry(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def join(one, address):
    """Both directions of a connection, to a second one that is made here."""
    try:
        other = socket.create_connection(address)
    except OSError:
        one.close()
        return
    for end in (one, other):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for pair in ((one, other), (other, one)):
        threading.Thread(target=carry, args=pair, daemon=True).start()


def near_side(listener):
    while True:
        one = listener.accept()[0]
        threading.Thread(target=join, args=(one, (FAR, PORT)), daemon=True).start()


def doors(accepted, door):
    while True:
        one = accepted.get()
        with open(door) as file:
            join(one, ("127.0.0.1", int(file.read())))


def pump(devices, delay, rate):
    """Packets wait until they have passed the width of the link, and then its length, in their order."""
    other = {devices[0]: devices[1], devices[1]: devices[0]}
    due = {device: collections.deque() for device in devices}
    free = dict.fromkeys(devices, 0.0)
    poll = select.epoll()
    for device in devices:
        poll.register(device, select.EPOLLIN)
    while True:
        now = time.monotonic()
        heads = [packets[0][0] for packets in due.values() if packets]
        # The clock of epoll is too coarse for the last millisecond.
        wait = min(heads) - now if heads else 1.0
        for device, _ in poll.poll(wait if wait > 0.0015 else 0):
            now = time.monotonic()
            for _ in range(64):
                try:
                    packet = os.read(device, 65536)
                except BlockingIOError:
                    break
                if free[device] - now > QUEUE_SECONDS:
                    continue
                free[device] = max(now, free[device]) + len(packet) * 8 / rate
                due[device].append((free[device] + delay, packet))
        now = time.monotonic()
        for device, packets in due.items():
            while packets and packets[0][0] <= now:
                try:
                    os.write(other[device], packets.popleft()[1])
                except OSError:
                    pass


def main():
    delay, rate, door = float(sys.argv[1]) / 2000, float(sys.argv[2]) * 1e6, sys.argv[3]
    told, accepted = queue.Queue(), queue.Queue()
    near = tun(NEAR)
    threading.Thread(target=far_side, args=(told, accepted), daemon=True).start()
    far = told.get()
    if isinstance(far, OSError):
        raise far
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    for work, given in ((near_side, (listener,)), (doors, (accepted, door)), (pump, ((near, far), delay, rate))):
        threading.Thread(target=work, args=given, daemon=True).start()
    ended = subprocess.run(sys.argv[5:], env={**os.environ, "LINK_PORT": str(listener.getsockname()[1])})
    sys.exit(ended.returncode)


main()
