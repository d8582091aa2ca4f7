"""The same work side by side with the peers: how fast, only where the numbers agree."""
