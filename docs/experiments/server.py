#!/usr/bin/env python3
"""server.py first|after|never PORT...: accepts on 127.0.0.1 and closes each connection first, after its peer,
or never."""

import selectors
import socket
import sys

open("/proc/self/comm", "w").write("server")
when, ports = sys.argv[1], sys.argv[2:]
listeners = selectors.DefaultSelector()
for port in ports:
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=1024)
    listeners.register(listener, selectors.EVENT_READ)
kept = []
while True:
    for key, _ in listeners.select():
        connection, _ = key.fileobj.accept()
        if when == "never":
            kept.append(connection)
            continue
        if when == "after":
            try:
                connection.recv(1)
            except ConnectionResetError:
                pass
        connection.close()
