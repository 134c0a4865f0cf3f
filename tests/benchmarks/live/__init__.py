"""What runs in processes of its own for the benchmarks of streams; the modules above it start and compare them."""
