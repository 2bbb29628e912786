"""Side-by-side measurements: what they mean and how to run them is in bench/README.md."""
