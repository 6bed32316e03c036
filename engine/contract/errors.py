"""What a person did wrong, as one kind of exception. Knows who raises it nowhere."""


class UserError(ValueError):
    """Input, a file or a request of a person cannot be used. One line, ready to show: the rule, what arrived, what to
    do. It alone makes a command end with status 2 and an app's page show its words."""
