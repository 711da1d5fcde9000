"""What a test starts in the place of vLLM: passes every connection on to the server at BEHIND, or fails as FAILS says.

It is run as a file, by an interpreter that imports nothing of the package.
"""

import contextlib
import os
import socket
import sys
import threading
import time


def main(words: list[str]) -> None:
    port = int(words[words.index("--port") + 1])
    print("INFO: loading", " ".join(words), flush=True)
    fails = os.environ.get("FAILS", "")
    if fails == "never":
        time.sleep(600)
    if fails:
        print(f"RuntimeError: {fails}", flush=True)
        print("INFO: bye", flush=True)
        sys.exit(3)
    serve(port, int(os.environ["BEHIND"].rpartition(":")[2]))


def serve(port: int, behind: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listening:
        while True:
            near, _ = listening.accept()
            far = socket.create_connection(("127.0.0.1", behind))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=passed_on, args=(source, target), daemon=True).start()


def passed_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(sys.argv[1:])
