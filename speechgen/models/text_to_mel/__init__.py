"""Characters and a prompt to mel, without semantic tokens between them."""
