"""The gateway: OTLP over HTTP and gRPC in, the log `spans.raw` out."""
