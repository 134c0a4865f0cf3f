"""Benchmarks on structures of a Hazelcast cluster."""
