"""Every error the appliance raises on purpose.

::

    ApplianceError
    ├── ConfigError        the settings cannot be used; names file, key, value and remedy
    ├── DecodeError        one message cannot be read; it goes to quarantine with its reason
    ├── AdaptationError    no head came of a machine's labels; what judges stays
    ├── StoreError         the local database cannot be opened or written
    │   └── DiskFull       no room: hold, acknowledge nothing, try again when there is room
    ├── RecordingError     a file of recorded or simulated machine data cannot be read
    ├── ResultsError       a file of evaluation results cannot be read or written
    ├── BundleError        a bundle cannot be packed, or the shelf of bundles cannot be read or written
    │   └── BundleRefused  a bundle must not come into service: with its reason
    └── SinkError          a server that results are sent to
        ├── Retry          passing: try the same batch again later
        ├── Rejected       the batch was understood and refused: halve it until the bad point is found
        └── Refused        nothing will be accepted until somebody mends the set-up: hold and alarm
"""

from __future__ import annotations


class ApplianceError(Exception):
    """Base of every error raised on purpose; its text is fit for the operator."""


class ConfigError(ApplianceError):
    """The settings cannot be used. The text has one line per problem: ``file: key: what is wrong and what to do``."""


class DecodeError(ApplianceError):
    """A message cannot be turned into readings.

    Parameters
    ----------
    reason
        A short fixed word for counting, such as ``not_json``. Never holds anything out of the message.
    detail
        What exactly is wrong, for a person; may quote the message, cut short.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class AdaptationError(ApplianceError):
    """No head came of a machine's labels, and what judges it stays. The text says why, and what to do."""


class StoreError(ApplianceError):
    """The local database cannot be opened or written."""


class DiskFull(StoreError):  # noqa: N818 - like the sinks' errors, it names what to do
    """There is no room for the write; nothing of it was stored."""


class RecordingError(ApplianceError):
    """A file of recorded or simulated machine data cannot be read."""


class ResultsError(ApplianceError):
    """Evaluation results cannot be read or written; the text names file, row, column and remedy."""


class BundleError(ApplianceError):
    """A bundle cannot be packed, or the shelf of installed ones cannot be read or written."""


class BundleRefused(BundleError):  # noqa: N818 - like the sinks' errors, it names what happened
    """A bundle must not come into service; the one in service stays.

    Parameters
    ----------
    file
        Name of the bundle's file.
    reason
        A short fixed word for scripts, such as ``bad_signature``.
    detail
        What is wrong with what, and what to do.
    """

    def __init__(self, file: str, reason: str, detail: str) -> None:
        super().__init__(f"{file}: {detail}")
        self.file = file
        self.reason = reason


class SinkError(ApplianceError):
    """A server that results are sent to did not take them."""


class Retry(SinkError):  # noqa: N818 - these three name what to do next
    """A passing failure: send the same batch again, not before ``after_secs`` where the server said so."""

    def __init__(self, text: str, after_secs: float | None = None) -> None:
        super().__init__(text)
        self.after_secs = after_secs


class Rejected(SinkError):  # noqa: N818
    """The batch was understood and refused: something in it is bad, or it is too large."""


class Refused(SinkError):  # noqa: N818
    """Nothing will be accepted until somebody mends the set-up: credentials, database, address."""
