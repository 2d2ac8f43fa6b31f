"""Why a request to another server failed. The message is for the caller and names no address.

OutboundError
 ├─ FetchingOff   the settings do not allow to fetch
 ├─ RefusedUrl    this server does not go there: a wrong URL, or an address that is not public
 ├─ Unreachable   no name, no connection, or a certificate that does not fit
 ├─ Broken        the answer did not come in time, or is not HTTP
 ├─ TooLong       the answer has more bytes than allowed
 └─ BadAnswer     the answer has another status than 2xx, a redirect too many, or compressed bytes
"""

from __future__ import annotations


class OutboundError(Exception):
    """A request that leaves the gateway failed; `code` says how, for programs."""

    code = "fetch_failed"


class FetchingOff(OutboundError):
    code = "outbound_fetching_is_off"


class RefusedUrl(OutboundError):
    code = "url_not_allowed"


class Unreachable(OutboundError):
    code = "host_unreachable"


class Broken(OutboundError):
    code = "answer_broken"


class TooLong(OutboundError):
    code = "answer_too_large"


class BadAnswer(OutboundError):
    code = "answer_refused"
