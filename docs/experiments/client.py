#!/usr/bin/env python3
"""client.py [options] PORT...: connects to 127.0.0.1, one after the other, and closes; says how far it got."""

import argparse
import socket
import struct
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--name", default="client", help="what the process is called")
parser.add_argument("--count", type=int, default=1, help="connections to each port")
parser.add_argument("--rate", type=float, help="connections a second")
parser.add_argument("--linger0", action="store_true", help="SO_LINGER 0")
parser.add_argument("--bind", type=int, help="local port")
parser.add_argument("--reuseaddr", action="store_true", help="SO_REUSEADDR")
parser.add_argument("--peer-first", action="store_true", help="close after the server")
parser.add_argument("ports", type=int, nargs="+")
options = parser.parse_args()
open("/proc/self/comm", "w").write(options.name)

start = time.monotonic()
done = 0


def visit(port):
    client = socket.socket()
    call = "bind"
    try:
        if options.reuseaddr:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.bind:
            client.bind(("127.0.0.1", options.bind))
        call = "connect"
        client.connect(("127.0.0.1", port))
    except OSError as error:
        took = time.monotonic() - start
        raise SystemExit(f"{done} connections in {took:.2f} s, then {call}: {error}")
    if options.linger0:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if options.peer_first:
        client.recv(1)
    client.close()


for _ in range(options.count):
    for port in options.ports:
        if options.rate:
            time.sleep(max(0, start + done / options.rate - time.monotonic()))
        visit(port)
        done += 1
print(f"{done} connections in {time.monotonic() - start:.2f} s")
