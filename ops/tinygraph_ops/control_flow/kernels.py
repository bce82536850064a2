"""How loops run in a plan: the body is planned once, and its steps are calls on the same memory."""
