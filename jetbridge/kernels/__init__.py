"""Kernels: small pure-Python objects that work on chunks of items and know no engine."""
