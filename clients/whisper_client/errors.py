"""Errors of a client, each one line that ends in the next thing to type.

ClientError                  exit 1
 ├─ BadArgument       exit 2  a file, option, address or token cannot be used
 ├─ ServerUnreachable exit 1  the connection broke every time
 │   └─ NoServer      exit 1  nothing takes connections at the address, or not securely
 ├─ ServerTimeout     exit 1  the server took longer than `timeout_s` every time
 ├─ ServerRefused     exit 1  the server answered with a status of 400 or above
 └─ BrokenStream      exit 1  a stream of events stopped before its end
"""

from __future__ import annotations


class ClientError(Exception):
    """A failure that a person can act on; `str(error)` is one line and never holds a token.

    `tries` counts the requests sent, 0 where none was.
    """

    exit_code = 1

    def __init__(self, message: str, *, tries: int = 0, causes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.tries = tries
        self.causes = causes


class BadArgument(ClientError):
    exit_code = 2


class ServerUnreachable(ClientError):
    pass


class NoServer(ServerUnreachable):
    pass


class ServerTimeout(ClientError):
    pass


class ServerRefused(ClientError):
    """The server's answer was an error; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int, tries: int = 1, causes: tuple[str, ...] = ()) -> None:
        super().__init__(message, tries=tries, causes=causes)
        self.status = status


class BrokenStream(ClientError):
    pass
