"""The forecaster beside its baselines: replica-hours against late requests, and how long it all takes."""
