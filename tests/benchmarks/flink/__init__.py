"""The benchmarks on Flink: `suite` starts what is measured, and the other modules run in processes of their own."""
