"""What tells a repeated request from another one under the same id."""

from hashlib import blake2b

from schemas import budget_pb2 as pb


def fingerprint(request: pb.ReserveRequest | pb.SettleRequest | pb.Reserve | pb.Settle) -> bytes:
    """A hash of the content of `request` as its client sent it, 16 bytes.

    The policy of a reservation is no content: a caller may become more patient with the same request.
    """
    if isinstance(request, pb.ReserveRequest) and request.policy:
        bare = pb.ReserveRequest()
        bare.CopyFrom(request)
        bare.ClearField("policy")
        request = bare
    return blake2b(request.SerializeToString(deterministic=True), digest_size=16).digest()
