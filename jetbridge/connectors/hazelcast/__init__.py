"""Sources and sinks that are structures of a Hazelcast cluster, through its Python client.

The client library (extra ``hazelcast``) is imported where it is used, and only there.
"""
