"""The screens, one module per group: what each shows and what pressing something does. No business rules."""
