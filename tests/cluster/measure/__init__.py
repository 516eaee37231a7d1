"""What tests/cluster/bench measures."""
