"""The base of the namespace `tg.ops`. Empty here: its stub (`op_signatures.pyi`) tells editors the built-in ops."""


class BuiltinOps:
    """The built-in ops, as far as a type checker is concerned; at run time the registry finds them by name."""
