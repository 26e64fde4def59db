"""Predictions and risk figures from closed candles."""
