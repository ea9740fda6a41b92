"""What a person may set, what a row must be, and what blocks hand to each other. No work is done here."""
