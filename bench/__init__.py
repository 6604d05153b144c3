"""Side-by-side benchmarks: `python -m bench` measures the gateway beside what people would use instead."""
