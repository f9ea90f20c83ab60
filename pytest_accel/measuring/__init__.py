"""What is found out about one compiled model: accuracy, latency, the highest rate."""
