"""What the fleet's description says of models, routes and prices, what was ordered at run time, and the choice between models."""
