"""Benchmarks: CPU time per call and per message, each beside a named peer in the same run."""
