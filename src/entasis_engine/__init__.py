"""Entasis Engine: market data, portfolios and analysis over one Protobuf contract."""

__version__ = "0.1.0"
