"""Who may ask for what, and how much of it: keys, allowed names, rates and budgets."""
