"""A listening socket, taken before anything else is started: a port that is not free is one clear error."""

import socket

from commonhold.errors import Unavailable


class PortTaken(Unavailable):
    """The address to listen on is not free."""

    code = "port_taken"


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as e:
        listener.close()
        raise PortTaken(f"cannot listen on {host}:{port}: {e.strerror}; port 0 takes a free one") from e
    return listener


def port_of(listener: socket.socket) -> int:
    """The port that the socket is bound to."""
    return int(listener.getsockname()[1])
