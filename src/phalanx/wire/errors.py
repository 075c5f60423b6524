"""What can be wrong with bytes.  Either error condemns the connection or file that they came from, and nothing else."""


class WireError(Exception):
    """The bytes are not what a correct peer sends, or not what was once written."""


class FrameError(WireError):
    """Not a sequence of frames: garbage, another version, an excessive length, or a checksum that does not match."""


class TornFrame(FrameError):
    """The bytes end inside a frame, as after a crash in the middle of an append."""


class CodecError(WireError):
    """A sound frame whose body is no message of the expected types."""
