"""The immutable plan of a pipeline: nodes, the graph that holds them, and how they are fused."""
