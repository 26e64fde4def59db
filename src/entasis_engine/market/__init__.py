"""Live and historical market data: the hub that keeps the latest, candles, history, and the gRPC service over them."""
