"""Benchmarks that print JSON: ``python -m benchmarks NAME --json``.

A benchmark is a module here with ``run(arguments: list[str]) -> Result``.
"""
