"""The objective `{command: […]}`: a program in any language, started once per trial."""
