"""What reviewers are asked, what they answered, and what holds of it."""
