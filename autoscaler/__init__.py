"""The control plane: reads signals, decides how many replicas of a model are wanted, and asks Nomad for them."""
