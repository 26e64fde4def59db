"""The gRPC server: what every call passes on its way in and out, and where the rooms are registered."""
